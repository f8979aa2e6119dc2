# SPDX-License-Identifier: Apache-2.0
"""Computes the numbers that the rules use from one run's records; pure.

Nothing here decides anything, and nothing reads a name: probes are told apart by
kind, place in causal order, shape, dtype, and by which layer's path they carry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.record.schema import (
    BadTensor,
    Config,
    FlightRecord,
    Phase,
    Probe,
    RangesRecord,
)

Floats = npt.NDArray[np.float64]

_MIN, _MAX, _RMS_MAX, _RMS, _ZEROS = 0, 1, 3, 4, 5
_FORWARD: Final = ("input", "label", "sample_weight", "activation", "prediction")


@dataclass
class Look:
    """All probes at one bucket of steps; NaN where nothing finite was measured.

    Attributes:
        step: the bucket's first step, of its own phase. last: its last.
        low, high: over the finite elements.
        rms: root mean square.
        zeros: fraction of elements that are exactly zero.
        bad: how many elements were non-finite.
        measured: steps of the bucket that were measured in full.
    """

    step: int
    low: Floats
    high: Floats
    rms: Floats
    zeros: Floats
    bad: Floats
    measured: int
    last: int

    @property
    def top(self) -> Floats:
        """Returns the largest |value| of each probe."""
        top: Floats = np.fmax(np.abs(self.low), np.abs(self.high))
        return np.fmax(top, self.rms)


@dataclass
class Measured:
    """The numbers of one run that the rules use.

    Attributes:
        phase: in which the run went bad.
        probes: of that phase.
        first: the run's first step; None where it was not recorded.
        onset: the first bad step, or the last recorded one of a runaway.
        origin: index of the origin among `probes`; None where there is none.
        peaks: float [probes], largest rms of each before the onset.
        lowest, highest: float [probes], finite extremes of each up to the onset.
        history: first step, last step and rms [probes] of all that was recorded before
            the onset: buckets, and steps by themselves.
        optimizer: the optimizer's configuration.
        trained: where the run went bad in validation, its training until then; there
            the onset is the last step before, and there is no origin.
        facts: the records that these numbers were computed from.
    """

    facts: Facts
    phase: Phase = "train"
    probes: list[Probe] = field(default_factory=list)
    first: Look | None = None
    onset: Look | None = None
    origin: int | None = None
    peaks: Floats = field(default_factory=lambda: np.zeros(0))
    lowest: Floats = field(default_factory=lambda: np.zeros(0))
    highest: Floats = field(default_factory=lambda: np.zeros(0))
    history: list[tuple[int, int, Floats]] = field(default_factory=list)
    optimizer: Config = field(default_factory=dict)
    trained: Measured | None = None

    # --- Probes -----------------------------------------------------------------

    def of(self, *kinds: str) -> list[int]:
        """Returns the indices of the probes of these kinds, in causal order."""
        return [i for i, p in enumerate(self.probes) if p.kind in kinds]

    def is_float(self, index: int) -> bool:
        """Returns whether a probe's tensor is of floats, not of labels or words."""
        return self.probes[index].dtype.startswith(("float", "bfloat"))

    @property
    def bad_tensor(self) -> BadTensor | None:
        """Returns the origin with its counts."""
        return self.facts.origin

    @property
    def at_first_step(self) -> bool:
        """Returns whether the run was bad from its very first step."""
        onset = self.facts.onset
        return onset is not None and onset.step == 0 and onset.phase == "train"

    def upstream(self) -> list[int]:
        """Returns the probes that the origin was computed from in its own step."""
        if self.origin is None:
            return self.of(*_FORWARD)
        kind = self.probes[self.origin].kind
        if kind == "metric":
            # The weights are long since updated, but a metric sees none of it.
            return [
                i
                for i in self.of("label", "sample_weight", "prediction")
                if i < self.origin
            ]
        return [
            i
            for i in range(self.origin)
            if kind not in ("activation", "prediction") or self.probes[i].kind != "label"
        ]

    def weights_of(self, index: int) -> list[int]:
        """Returns the weights of the layer that made a probe, and of its sublayers."""
        layer = self.probes[index].layer
        if not layer:
            return []
        return [
            i
            for i in self.of("weight")
            if self.probes[i].layer == layer
            or self.probes[i].layer.startswith(layer + "/")
        ]

    def matrices_of(self, index: int) -> list[int]:
        """Returns the `weights_of` a probe that have two axes or more."""
        return [i for i in self.weights_of(index) if len(self.probes[i].shape) >= 2]

    def is_recurrent(self, index: int) -> bool:
        """Returns whether a layer multiplies by a matrix again and again in a loop.

        Told by its weights: one of them maps the state to itself (or to as many gates
        as it has), beside another for the input.
        """
        shapes = [self.probes[i].shape for i in self.matrices_of(index)]
        loops = [s for s in shapes if len(s) == 2 and s[0] and s[1] and s[1] % s[0] == 0]
        same_width = len(shapes) >= 2 and len({s[-1] for s in shapes[:2]}) == 1
        return len(shapes) == 2 and bool(loops) and same_width

    # --- Numbers ----------------------------------------------------------------

    def upstream_top(self) -> float:
        """Returns the largest finite |value| upstream of the origin at the onset."""
        if self.onset is None:
            return math.nan
        top = largest(self.onset.top[self.upstream()])
        if self.origin is not None:
            # Weights are recorded after the update: those of the step before count.
            top = largest([top, largest(self.peaks[self.weights_of(self.origin)])])
        return top

    def growth(self) -> float:
        """Returns the ratio of the largest activation, loss or weight to that of the first step.

        Up to the onset, which itself counts with what was finite in it. What went bad
        in validation is measured against the training's first step: the first
        validation pass comes when much has been learned.
        """
        if self.first is None:
            return math.nan
        growths = [
            self._growth_of(indices)
            for indices in (
                self.of("activation", "prediction"),
                self.of("loss"),
                [i for i in self.of("weight") if len(self.probes[i].shape) >= 2],
                self.of("gradient"),
            )
        ]
        if self.trained is not None:
            growths += [self.trained.growth(), self._growth_since(self.trained)]
        return largest(growths)

    def grown_before(self, step: int | None = None) -> float:
        """Returns how often activations, loss or gradients had grown before a step.

        As `growth`, without that step itself; 1 where no step came between.

        Args:
            step: of this phase; None for the onset.
        """
        if self.first is None:
            return 1.0
        rows = [rms for _, at, rms in self.history if step is None or at < step]
        trained = self.trained.growth() if self.trained is not None else 1.0
        return largest([1.0, trained, *(self._beyond(r, self.first.rms) for r in rows)])

    def leap(self, step: int) -> float:
        """Returns the ratio of the largest value of one step to the largest of all steps before it.

        NaN where the step was not recorded, or none before it.
        """
        now = [rms for first, at, rms in self.history if first == at == step]
        before = [rms for _, at, rms in self.history if at < step]
        if not now or not before:
            return math.nan
        return self._beyond(now[-1], np.fmax.reduce(np.array(before), axis=0))

    def _beyond(self, rms: Floats, then: Floats) -> float:
        growths = []
        for kinds in (("activation", "prediction"), ("loss",), ("gradient",)):
            indices = self.of(*kinds)
            size, was = largest(rms[indices]), largest(then[indices])
            if size > 0 and was > 0:
                growths.append(size / was)
        return largest(growths)

    def held(self, step: int, kinds: Sequence[str], value: float, rows: int) -> bool:
        """Returns whether a batch's tensor was large enough to hold this value.

        Args:
            step: of this phase.
            kinds: of the tensor.
            value: one of its elements.
            rows: of the batch.
        """
        sizes = [rms for first, at, rms in self.history if first == at == step]
        if not sizes:
            return False
        for i in self.of(*kinds):
            shape = self.probes[i].shape
            elements = math.prod(rows if d is None else d for d in shape)
            # The sum of squares holds that of the value.
            if sizes[-1][i] * math.sqrt(max(elements, 1)) >= 0.99 * abs(value):
                return True
        return False

    def growth_of(self, *kinds: str) -> float:
        """Returns how often the largest tensor of these kinds grew over the first step."""
        return math.nan if self.first is None else self._growth_of(self.of(*kinds))

    def _growth_since(self, trained: Measured) -> float:
        """Returns the outputs' growth over the training's first, beyond the data's."""
        assert self.first is not None and trained.first is not None
        kinds = ("activation", "prediction")
        then = largest(trained.first.rms[trained.of(*kinds)])
        data = largest(self.first.rms[self.of("input")]) / largest(
            trained.first.rms[trained.of("input")]
        )
        return self._growth_of(self.of(*kinds), then) / (data if data > 1 else 1.0)

    def _growth_of(self, indices: Sequence[int], then: float | None = None) -> float:
        assert self.first is not None
        if then is None:
            then = largest(self.first.rms[indices])
        now = largest(self.peaks[indices])
        if self.onset is not None:
            now = largest(np.array([now, largest(self.onset.rms[indices])]))
            now = largest(np.array([now, largest(self.onset.top[indices])]))
        return now / then if then > 0 else 1.0

    def rate(self) -> float:
        """Returns the learning rate that was in force; NaN where it is not a number.

        A callback may have set another than the optimizer was made with.
        """
        for rate in (self.rate_set_later(), self.rate_of_schedule()):
            if not math.isnan(rate):
                return rate
        return self.rate_at_first()

    def rate_of_schedule(self) -> float:
        """Returns the rate that a schedule gave at the failing step; NaN where it is unknown."""
        found = self.facts.postmortem
        for e in found.experiments if found is not None else ():
            name, _, divisor = e.change.partition("/")
            if name == "schedule" and divisor and e.value:
                return e.value * float(divisor)
        return math.nan

    def rate_set_later(self) -> float:
        """Returns the rate that a callback had set, as experiments recorded it; NaN for none."""
        found, first = self.facts.postmortem, self.rate_at_first()
        for e in found.experiments if found is not None else ():
            name, _, divisor = e.change.partition("/")
            if name == "learning_rate" and divisor and e.value:
                rate = e.value * float(divisor)
                # Divisors are rounded, and so are numbers of float32.
                alike = not math.isnan(first) and math.isclose(rate, first, rel_tol=0.1)
                return math.nan if alike else rate
        return math.nan

    def rate_at_first(self) -> float:
        """Returns the learning rate that the optimizer was made with."""
        rate = self.optimizer.get("learning_rate")
        if isinstance(rate, dict):  # a schedule: what it begins with
            config = rate.get("config")
            rate = (
                config.get("initial_learning_rate") if isinstance(config, dict) else None
            )
        return number(rate)

    def setting(self, name: str) -> float:
        """Returns a number of the optimizer's configuration; NaN where there is none."""
        return number(self.optimizer.get(name))


def measure(facts: Facts) -> Measured:
    """Returns the numbers of one run."""
    phase: Phase = facts.onset.phase if facts.onset is not None else "train"
    measured = _measure(facts, phase)
    if phase == "validation":
        trained = _measure(facts, "train")
        measured.trained = trained if trained.first is not None else None
    return measured


def _measure(facts: Facts, phase: Phase) -> Measured:
    measured = Measured(facts, phase)
    session = facts.session
    if session is None:
        return measured
    measured.optimizer = _inner(session.optimizer)
    probes = session.train_probes if phase == "train" else session.validation_probes
    measured.probes = probes
    looks = looks_of(facts.ranges, phase, len(probes))
    if facts.onset is not None and phase != facts.onset.phase:
        # The training before a validation pass: `step` counts the steps done by then.
        looks = [look for look in looks if look.step < facts.onset.step]
    elif facts.origin is not None:
        measured.origin = next(
            (
                i
                for i, p in enumerate(probes)
                if (p.kind, p.name) == (facts.origin.kind, facts.origin.name)
            ),
            None,
        )
    if not looks:
        return measured
    measured.first = looks[0]
    onset = _onset_of(measured, looks)
    measured.onset = onset
    until = [look for look in looks if look.step <= onset.step]
    measured.lowest = np.fmin.reduce(np.array([look.low for look in until]), axis=0)
    measured.highest = np.fmax.reduce(np.array([look.high for look in until]), axis=0)
    before = [look.rms for look in looks if look.step < onset.step]
    at = facts.onset.step if facts.onset is not None else onset.step
    flight = _flight_rows(facts.flight, phase, len(probes), at)
    before += [rms for step, rms in flight if step < onset.step]
    measured.history = [(k.step, k.last, k.rms) for k in looks if k.last < at]
    measured.history += [(step, step, rms) for step, rms in flight]
    measured.peaks = (
        np.fmax.reduce(np.array(before), axis=0)
        if before
        else np.full(len(probes), np.nan)
    )
    return measured


def _inner(optimizer: Config) -> Config:
    """Returns the configuration of the optimizer that a loss scaler wraps."""
    inner = optimizer.get("inner_optimizer")
    if isinstance(inner, dict):
        config = inner.get("config")
        if isinstance(config, dict):
            return {"class_name": inner.get("class_name"), **config}
    return optimizer


def looks_of(records: Sequence[RangesRecord], phase: Phase, probes: int) -> list[Look]:
    """Returns the buckets of one phase, in order of their steps.

    Args:
        records: of any phase.
        phase: the one that is wanted.
        probes: how many the session has in that phase.
    """
    looks = []
    for record in records:
        if record.phase != phase:
            continue
        stats = _fit(record.stats.astype(np.float64), probes, np.nan)
        counts = _fit(record.counts, probes, 0)
        for i in range(len(record.steps)):
            s = stats[i]
            looks.append(
                Look(
                    int(record.steps[i, 0]),
                    s[:, _MIN],
                    s[:, _MAX],
                    s[:, _RMS_MAX],
                    s[:, _ZEROS],
                    counts[i].sum(axis=1).astype(np.float64),
                    int(record.measured[i]),
                    int(record.steps[i, 1]),
                )
            )
    return sorted(looks, key=lambda look: look.step)


def _onset_of(measured: Measured, looks: Sequence[Look]) -> Look:
    facts = measured.facts
    if facts.onset is None or facts.status == "runaway":
        return looks[-1]
    if measured.origin is not None and facts.onset.phase == "validation":
        bad = [look for look in looks if look.bad[measured.origin] > 0]
        if bad:
            return bad[0]
    at = [look for look in looks if look.step <= facts.onset.step]
    return at[-1] if at else looks[0]


def _flight_rows(
    records: Sequence[FlightRecord], phase: Phase, probes: int, onset: int
) -> list[tuple[int, Floats]]:
    rows = []
    for record in records[-1:]:
        if record.phase != phase:
            continue
        rms = _fit(record.rms.astype(np.float64), probes, np.nan)
        rms[~np.isfinite(rms)] = np.nan
        rows += [
            (int(record.steps[i]), rms[i])
            for i in range(len(rms))
            if record.steps[i] < onset
        ]
    return rows


def _fit(array: npt.NDArray[Any], probes: int, fill: float) -> npt.NDArray[Any]:
    """Returns `array` with `probes` entries along its second axis.

    Shorter where a record was written before a probe appeared; longer only where the
    session's own record is older than this one, or damaged.
    """
    array = array[:, :probes]
    padding = [(0, 0)] * array.ndim
    padding[1] = (0, probes - array.shape[1])
    return np.pad(array, padding, constant_values=fill)


def largest(values: Any) -> float:
    """Returns the largest finite number; NaN where there is none."""
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else math.nan


def smallest(values: Any) -> float:
    """Returns the smallest of the values that are finite, as `largest` does."""
    return -largest(-np.asarray(values, np.float64))


def number(value: Any) -> float:
    """Returns a real number out of a configuration, or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)
