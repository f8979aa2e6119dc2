# SPDX-License-Identifier: Apache-2.0
"""Compares the measured shapes, dtypes and ranges of the data.

Ranges come from some of the steps. A rare kind of value may be seen in one run and not in
another by chance, so that a difference in kind (negative values, zeros) is reported only
where chance would hardly explain it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tb_nanwatch.diagnosis.measured import largest, looks_of
from tb_nanwatch.reading.comparison.differences.found import (
    TOLERANCE,
    ComparedRun,
)
from tb_nanwatch.reading.comparison.differences.values import decades_between, difference
from tb_nanwatch.reading.contract.comparisons import Difference
from tb_nanwatch.reading.search.statistics import log_tails
from tb_nanwatch.record.schema import (
    JSONScalar,
    Phase,
    Probe,
    SessionRecord,
)
from tb_nanwatch.wording.comparison_text import ZEROS

# The convention; runs are compared two at a time, and a difference is no verdict.
_ALPHA: Final = 0.05
_PHASES: Final[tuple[Phase, ...]] = ("train", "validation")


def data_ranges(first: ComparedRun, second: ComparedRun) -> list[Difference]:
    """Compares shapes, dtypes and ranges of inputs, labels and sample weights."""
    found = []
    for phase in _PHASES:
        a, b = _extremes(first, phase), _extremes(second, phase)
        where = "" if phase == "train" else " of the validation data"
        for kind in ("input", "label", "sample_weight"):
            ours, theirs = a.get(kind, []), b.get(kind, [])
            if not a or not b:
                continue
            noun = kind.replace("_", " ")
            if len(ours) != len(theirs):
                found.append(
                    difference("data", f"{kind}s", len(ours), len(theirs),
                                f"number of {noun}s{where}")
                )  # fmt: skip
                continue
            for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                number_of = f" {i + 1}" if len(ours) > 1 else ""
                found += _of_tensor(kind, f"{noun}{number_of}{where}", one, other)
    return found


@dataclass(frozen=True)
class _Extremes:
    """The range of one data tensor over the whole run.

    `negative`, `above_one` and `with_zeros` count the buckets that had such a value, of
    `measured` steps in all: at least so many steps had it. The first bad step does not
    count: it was looked at because of its values.
    """

    dtype: str
    shape: str
    low: float
    high: float
    rms: float
    zeros: float
    bad: float
    negative: int
    above_one: int
    with_zeros: int
    measured: int


def _extremes(training: ComparedRun, phase: Phase) -> dict[str, list[_Extremes]]:
    session = training.session
    assert session is not None
    probes = _probes(session, phase)
    looks = looks_of(training.ranges, phase, len(probes))
    onset = training.status.onset
    before = [
        look.step
        for look in looks
        if onset is not None and onset.phase == phase and look.step <= onset.step
    ]
    found: dict[str, list[_Extremes]] = {}
    for i, probe in enumerate(probes):
        if probe.kind in ("input", "label", "sample_weight") and looks:
            lows = [look.low[i] for look in looks]
            drawn = [
                look
                for look in looks
                if look.step not in before[-1:] and not math.isnan(look.low[i])
            ]
            found.setdefault(probe.kind, []).append(
                _Extremes(
                    probe.dtype,
                    # The batch's size is no property of the data.
                    str(probe.shape[1:]),
                    -largest([-x for x in lows]),
                    largest([look.high[i] for look in looks]),
                    largest([look.rms[i] for look in looks]),
                    largest([look.zeros[i] for look in looks]),
                    sum(look.bad[i] for look in looks),
                    sum(bool(look.low[i] < 0) for look in drawn),
                    sum(bool(look.high[i] > 1) for look in drawn),
                    sum(bool(look.zeros[i] > 0) for look in drawn),
                    sum(look.measured for look in drawn),
                )
            )
    return found


def _of_tensor(kind: str, what: str, a: _Extremes, b: _Extremes) -> list[Difference]:
    found = []

    def add(name: str, one: JSONScalar, other: JSONScalar, label: str) -> None:
        found.append(
            difference("data", f"{kind}.{name}", one, other, f"{label} of {what}")
        )

    if a.shape != b.shape:
        add("shape", a.shape, b.shape, "shape (of a row)")
    if a.dtype != b.dtype:
        add("dtype", a.dtype, b.dtype, "dtype")
    if (a.bad > 0) != (b.bad > 0):
        add("nonfinite", int(a.bad), int(b.bad), "non-finite values seen")
    decades = decades_between(a.rms, b.rms)
    if decades is not None and abs(decades) >= TOLERANCE:
        add("rms", a.rms, b.rms, "root mean square")
        add("range", _range(a), _range(b), "range")
    elif _hardly_chance(a, a.negative, b, b.negative) or _hardly_chance(
        a, a.above_one, b, b.above_one
    ):
        add("range", _range(a), _range(b), "range")
    # A label or weight of zero divides; zeros among inputs are everyday.
    if kind != "input" and _hardly_chance(a, a.with_zeros, b, b.with_zeros):
        add("zeros", a.zeros, b.zeros, ZEROS)
    return found


def _hardly_chance(a: _Extremes, in_a: int, b: _Extremes, in_b: int) -> bool:
    """Returns whether only one run's steps had a property, and more often than chance explains.

    Fisher's exact test on the steps that were measured.
    """
    if (in_a > 0) == (in_b > 0):
        return False
    of = a if in_a else b
    total, hits = a.measured + b.measured, in_a + in_b
    log_p = log_tails(total, hits, np.array([of.measured]))[0, hits]
    return bool(log_p <= math.log(_ALPHA))


def _range(e: _Extremes) -> str:
    return f"[{e.low:.3g}, {e.high:.3g}]"


def _probes(session: SessionRecord, phase: Phase) -> list[Probe]:
    return session.train_probes if phase == "train" else session.validation_probes
