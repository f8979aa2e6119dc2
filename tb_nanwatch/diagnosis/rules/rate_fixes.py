# SPDX-License-Identifier: Apache-2.0
"""Fixes that lower a learning rate: the new value, and the place where it is set."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.diagnosis.measured import Measured, largest, number
from tb_nanwatch.diagnosis.rules.clipping import clip_as_tried
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import Experiment

# What Keras' schedules call the rates that they go between; others are shares of these.
_RATES_OF_SCHEDULES: Final = (
    "initial_learning_rate",
    "warmup_target",
    "end_learning_rate",
)


def lower_rate(m: Measured, rate: float) -> str:
    """Returns the fix of a learning rate; clipping is offered where it was tried and helped.

    A recurrent layer of tanh gives nothing beyond 1. One that did has an activation without
    a bound, and grows from time step to time step at any rate.

    Args:
        rate: what the learning rate is to be lowered to.
    """
    unbounded, size = _unbounded_recurrence(m)
    if unbounded:
        return (
            f'Give {unbounded} a bounded activation (activation="tanh"): its output reached '
            f"{size:.3g}, and what feeds back on itself grows at each step of the sequence. "
            f"A lower learning rate, e.g. {rate:.0e}, alone only delays that."
        )
    found = m.facts.postmortem
    tried = found.experiments if found is not None else []
    clipped = any(e.change == "clip" and e.succeeded and e.learns for e in tried)
    also = clip_as_tried(m) if clipped else ""
    return f"Lower the learning rate, e.g. to {rate:.0e}{also}.{where_rate_is_set(m)}"


def tested_rate(m: Measured, kept: Experiment, margin: float) -> str:
    """Returns the fix of a learning rate where an experiment with a lower rate helped.

    Args:
        kept: the experiment.
        margin: by what the value that was tried is divided.
    """
    assert kept.value is not None
    why = "the test is short beside the training"
    name, _, divisor = kept.change.partition("/")
    if name == "schedule":
        part = f"{float(divisor) * margin:g}"
        tested = f", of which 1/{divisor} was tested: {why}" if margin > 1 else ""
        shown = _rates_of_schedule(m, float(divisor) * margin)
        return f"Lower all rates of the schedule to 1/{part} of what they are{shown}{tested}."
    set_to = f"Lower the learning rate to {kept.value / margin:.3g}"
    if margin > 1:
        set_to += f", 1/{margin:g} of the {kept.value:.3g} that was tested: {why}"
    return f"{set_to}.{where_rate_is_set(m)}"


def _rates_of_schedule(m: Measured, divisor: float) -> str:
    """Returns ": ExponentialDecay(initial_learning_rate=0.05, ...)", "" for a user's own schedule."""
    schedule = m.optimizer.get("learning_rate")
    if not isinstance(schedule, dict):
        return ""
    config = schedule.get("config")
    if not isinstance(config, dict):
        return ""
    rates = {name: number(config.get(name)) for name in _RATES_OF_SCHEDULES}
    said = [
        f"{name}={rate / divisor:.3g}"
        for name, rate in rates.items()
        if not math.isnan(rate)
    ]
    values = config.get("values")
    if isinstance(values, list) and values:
        said.append(f"values=[{', '.join(f'{number(v) / divisor:.3g}' for v in values)}]")
    return f": {schedule.get('class_name')}({', '.join(said)}, ...)" if said else ""


def where_rate_is_set(m: Measured) -> str:
    """Returns in a sentence where a rate is to be lowered that a callback had set, else ""."""
    rate = m.rate_set_later()
    if math.isnan(rate):
        return _which_schedule(m)
    return f" That is the one that a callback sets, which was {rate:.3g}."


def _which_schedule(m: Measured) -> str:
    schedule = m.optimizer.get("learning_rate")
    if not isinstance(schedule, dict):
        return ""
    return f" A schedule sets it, {schedule.get('class_name')}: lower the rates there."


def _unbounded_recurrence(m: Measured) -> tuple[str, float]:
    """Returns the recurrent layers that gave more than 1, in words, and how much."""
    sizes = {}
    for i in m.of("activation"):
        size = largest([abs(m.lowest[i]), abs(m.highest[i])])
        if m.is_recurrent(i) and size > at("bounded"):
            sizes[m.probes[i].name] = size
    if not sizes:
        return "", 0.0
    names = " and ".join(dict.fromkeys(sizes))
    return f"the recurrent {'layer' if len(sizes) == 1 else 'layers'} {names}", max(
        sizes.values()
    )
