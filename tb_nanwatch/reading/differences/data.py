"""What was measured of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tb_nanwatch.measured import largest, looks_of
from tb_nanwatch.reading.differences.found import (
    TOLERANCE,
    Difference,
    Training,
)
from tb_nanwatch.reading.differences.values import decades_between, difference
from tb_nanwatch.schema import (
    JSONScalar,
    Phase,
    Probe,
    SessionRecord,
)

_PHASES: Final[tuple[Phase, ...]] = ("train", "validation")


def data_ranges(first: Training, second: Training) -> list[Difference]:
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
    """What a data tensor held over the whole run."""

    dtype: str
    shape: str
    low: float
    high: float
    rms: float
    zeros: float
    bad: float


def _extremes(training: Training, phase: Phase) -> dict[str, list[_Extremes]]:
    session = training.session
    assert session is not None
    probes = _probes(session, phase)
    looks = looks_of(training.ranges, phase, len(probes))
    found: dict[str, list[_Extremes]] = {}
    for i, probe in enumerate(probes):
        if probe.kind in ("input", "label", "sample_weight") and looks:
            lows = [look.low[i] for look in looks]
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
    elif (a.low < 0) != (b.low < 0) or (a.high > 1) != (b.high > 1):
        add("range", _range(a), _range(b), "range")
    # A label or weight of zero divides; zeros among inputs are everyday.
    if kind != "input" and (a.zeros > 0) != (b.zeros > 0):
        add("zeros", a.zeros, b.zeros, "largest share of exact zeros in a batch")
    return found


def _range(e: _Extremes) -> str:
    return f"[{e.low:.3g}, {e.high:.3g}]"


def _probes(session: SessionRecord, phase: Phase) -> list[Probe]:
    return session.train_probes if phase == "train" else session.validation_probes
