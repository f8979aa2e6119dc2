# SPDX-License-Identifier: Apache-2.0
"""Compares the same tensors in both runs: their first values, and the step where they part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tb_nanwatch.diagnosis.measured import Look, largest, looks_of
from tb_nanwatch.reading.comparison.differences.found import (
    TOLERANCE,
    ComparedRun,
)
from tb_nanwatch.reading.comparison.differences.values import difference
from tb_nanwatch.reading.contract.comparisons import Difference, Parting, PartingTensor
from tb_nanwatch.record.schema import (
    Probe,
    RangesRecord,
)
from tb_nanwatch.wording import comparison_text as words

# Differences among what has become small say nothing: two trainings that have both
# converged differ by any factor. Below this share of its first value a tensor is small.
_SMALL: Final = 0.1
# Tensors named where two runs part, and activations named at the first step.
_MAX_TENSORS: Final = 3


@dataclass(frozen=True)
class _Series:
    """One tensor of both runs, or the largest of a kind where their numbers differ.

    Attributes:
        kind, name: the first run's.
        first, second: root mean square by common bucket; NaN where it is non-finite.
    """

    kind: str
    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Pairs:
    """Tensors of both runs, in causal order, and the buckets that both have.

    Attributes:
        steps: (first, last) of each bucket.
        series: in causal order.
    """

    steps: list[tuple[int, int]]
    series: list[_Series]


# Data are compared elsewhere; metrics are means over all earlier batches.
_COMPARED: Final = (
    "activation",
    "prediction",
    "loss",
    "gradient",
    "optimizer",
    "weight",
    "layer_state",
)


def pairs_of(first: ComparedRun, second: ComparedRun) -> Pairs | None:
    """Returns the tensors of both runs in pairs; None where ranges were not recorded."""
    if first.session is None or second.session is None:
        return None
    a, b = first.session.train_probes, second.session.train_probes
    ours = {look.step: look for look in looks_of(first.ranges, "train", len(a))}
    theirs = {look.step: look for look in looks_of(second.ranges, "train", len(b))}
    # A bucket's end follows from its beginning, except for a run's last.
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    ends = _ends(first.ranges, second.ranges)
    looks = [(ours[s], theirs[s]) for s in common]
    series = []
    for kind in _COMPARED:
        i, j = _of(kind, a), _of(kind, b)
        if not i or not j:
            continue
        if len(i) == len(j):
            series += [
                _Series(
                    kind,
                    a[x].name,
                    np.array([_size(one, [x]) for one, _ in looks]),
                    np.array([_size(other, [y]) for _, other in looks]),
                )
                for x, y in zip(i, j, strict=True)
            ]
        else:
            series.append(
                _Series(
                    kind,
                    words.largest_text(kind),
                    np.array([_size(one, i) for one, _ in looks]),
                    np.array([_size(other, j) for _, other in looks]),
                )
            )
    return Pairs([(s, ends[s]) for s in common], series)


def _of(kind: str, probes: Sequence[Probe]) -> list[int]:
    """Returns the probes of a kind, except gradients of biases.

    These are means of signed numbers, and vary from batch to batch by any factor.
    """
    return [
        i
        for i, p in enumerate(probes)
        if p.kind == kind and (kind != "gradient" or len(p.shape) >= 2)
    ]


def _ends(*runs: Sequence[RangesRecord]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for records in runs:
        for record in records:
            if record.phase == "train":
                for start, end in record.steps.tolist():
                    ends[start] = min(end, ends.get(start, end))
    return ends


def _size(look: Look, indices: Sequence[int]) -> float:
    """Returns the largest root mean square; NaN where any was non-finite."""
    if look.bad[list(indices)].any():
        return math.nan
    return largest(look.rms[list(indices)])


def initial(pairs: Pairs) -> list[Difference]:
    """Compares the tensors that the first step computed before any update."""
    if pairs.steps[0][0] != 0:
        return []
    found = []
    for s in pairs.series:
        if s.kind not in ("activation", "prediction", "loss", "gradient"):
            continue
        one, other = float(s.first[0]), float(s.second[0])
        if _part(one, other, one, other):
            what = words.at_first_text(s.kind, s.name)
            found.append(difference("initial", f"{s.kind}.{s.name}", one, other, what))
    if len(found) <= _MAX_TENSORS:
        return found
    # The first in causal order, and those that differ most of the others.
    rest = sorted(found[1:], key=lambda d: -abs(d.decades or math.inf))
    kept = [found[0], *rest[: _MAX_TENSORS - 1]]
    return [d for d in found if d in kept]


def _part(one: float, other: float, first_one: float, first_other: float) -> bool:
    """Returns whether two sizes differ clearly, relative to the tensors' first sizes."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) != math.isnan(other)
    high, low = max(one, other), min(one, other)
    begun = largest([first_one, first_other])
    if not high > 0 or (begun > 0 and high < _SMALL * begun):
        return False
    return low <= 0 or math.log10(high / low) >= TOLERANCE


def parting_of(pairs: Pairs) -> Parting | None:
    """Returns the first bucket from which on a tensor differs between the runs."""
    last = len(pairs.steps) - 1
    for n, start_end in enumerate(pairs.steps):
        apart = []
        for s in pairs.series:
            begun = (float(s.first[0]), float(s.second[0]))
            now = _part(float(s.first[n]), float(s.second[n]), *begun)
            # A difference in a single bucket does not count.
            after = min(n + 1, last)
            if now and _part(float(s.first[after]), float(s.second[after]), *begun):
                apart.append(s)
        if apart:
            tensors = [
                PartingTensor(s.kind, s.name, float(s.first[n]), float(s.second[n]))
                for s in apart[:_MAX_TENSORS]
            ]
            names = [(s.kind, s.name) for s in apart]
            text = words.parting_text(
                start_end, names, (tensors[0].first, tensors[0].second)
            )
            return Parting(*start_end, tensors, text)
    return None
