# SPDX-License-Identifier: Apache-2.0
"""Sentences that compare two runs: differences, where they part, the verdict; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import BAD_STATUSES, JSONScalar, Position, Status
from tb_nanwatch.wording.places import position_text, probe_text

NO_RANGES: Final = "The ranges of at least one run were not recorded."
NOT_DECIDED: Final = "The record does not decide the cause."
BOTH_BAD: Final = "Both went bad: a run that works would tell more beside one."
NONE_BAD: Final = "Neither went bad."
NEVER_PART: Final = "They never differ in what both have recorded."
# A heading, and what the star before a difference means.
BEFORE_UPDATES: Final = "First step, before any update"
ABOUT_CAUSE: Final = "* is what the likely cause is about."
# The compared properties of a label or a sample weight.
ZEROS: Final = "largest share of exact zeros in a batch"
# Hyperparameters that a sentence names.
_NAMED: Final = 3


def difference_text(
    what: str, first: JSONScalar, second: JSONScalar, decades: float | None
) -> str:
    """Returns "learning_rate: 0.1 against 0.001 (100 times as large)."; `decades` log10 of it."""
    text = f"{what}: {_value_text(first)} against {_value_text(second)}"
    return f"{text}." if decades is None else f"{text} ({_times_text(decades)})."


def _times_text(decades: float) -> str:
    factor = 10 ** min(abs(decades), 300.0)
    shown = f"{factor:,.0f}" if 9.5 <= factor < 1e6 else f"{factor:.2g}"
    return f"{shown} times as {'large' if decades > 0 else 'small'}"


def _value_text(value: JSONScalar) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value) or "none"


def with_setting_text(difference: str, setting: str) -> str:
    """Returns a hyperparameter's sentence with the optimizer setting that it sets."""
    return f"{difference[:-1]}; it is the optimizer's {setting}."


def at_first_text(kind: str, name: str) -> str:
    """Returns a tensor, or the largest of a kind, before anything was learned."""
    return f"{series_text(kind, name)} in the first step, before any update"


def largest_text(kind: str) -> str:
    """Returns the name for the largest tensor of a kind, where runs differ in their number."""
    return f"the largest {kind.replace('_', ' ')}"


def series_text(kind: str, name: str) -> str:
    """Returns a tensor of both runs, or the largest of a kind, in words."""
    return name if name == largest_text(kind) else probe_text(kind, name)


def parting_text(
    steps: tuple[int, int], tensors: Sequence[tuple[str, str]], rms: tuple[float, float]
) -> str:
    """Returns where two runs part, as a sentence.

    Args:
        steps: (first, last) of the bucket.
        tensors: kind and name of each that differs there, in causal order.
        rms: root mean square of the first of them in both runs; NaN where non-finite.
    """
    start, end = steps
    where = f"at step {start}" if start == end else f"between steps {start} and {end}"
    kind, name = tensors[0]
    more = f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""
    before = "; what comes before it in the step is alike" if kind != "activation" else ""
    return (
        f"They first differ {where}: {series_text(kind, name)} has root mean square "
        f"{_rms_text(rms[0])} against {_rms_text(rms[1])}{more}{before}."
    )


def _rms_text(value: float) -> str:
    return "non-finite" if math.isnan(value) else f"{value:.3g}"


def fates_text(*runs: tuple[str, Status, Position | None]) -> str:
    """Returns how runs ended; of a bad one with its first bad position."""
    return f"{'; '.join(_fate(*run) for run in runs)}."


def _fate(name: str, status: Status, onset: Position | None) -> str:
    text = f"{name} is {status.replace('_', ' ')}"
    if status in BAD_STATUSES:
        text = text.replace(" is diverged", " diverged").replace(
            " is runaway", " ran away"
        )
        text = text.replace(" is score lost", " lost its score")
        if onset is not None:
            text += f" at {position_text(onset)}"
    return text


def cause_text(cause: str, likely: str, differ: bool, hparams: Sequence[str]) -> str:
    """Returns a sentence on the likely cause and the difference that it is about.

    Args:
        cause: in words.
        likely: the difference that it is about, a sentence; "" for none.
        differ: whether the runs differ in anything.
        hparams: names of the hyperparameters in which they do.
    """
    if likely:
        return f"Likely cause: {cause}, which goes with a difference: {likely}"
    if not differ:
        return f"Likely cause: {cause}, but the two do not differ in anything that was recorded."
    more = f" and {len(hparams) - _NAMED} more" if len(hparams) > _NAMED else ""
    chosen = f": {', '.join(hparams[:_NAMED])}{more}" if hparams else ""
    return (
        f"Likely cause: {cause}; nothing that differs is about that by itself, so it takes "
        f"effect together with what differs{chosen}."
    )
