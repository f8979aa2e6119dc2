# SPDX-License-Identifier: Apache-2.0
"""Which condition on the hyperparameters separates the trials that went bad; pure.

Every condition on one hyperparameter and every conjunction of two is a candidate
region. Its p-value is that of Fisher's exact test, one-sided; how small the smallest
one gets by chance, given that so many regions were looked at, is found by shuffling
which trials went bad (Westfall and Young's min-p), with a fixed seed, so that the
same log always says the same.

Among the regions that pass, the one that describes the outcome best for its
simplicity is chosen: the probability that it gives to what happened, averaged over
the rates inside and outside, over the number of regions of its class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tb_nanwatch.reading.search.axes import (
    MIN_SIDE,
    Axis,
    Bools,
    HParamCondition,
)
from tb_nanwatch.reading.search.min_p import ALPHA, Tested, tested_regions
from tb_nanwatch.reading.search.regions import Family, Ints
from tb_nanwatch.reading.search.statistics import Floats, Marginal

# What a conjunction must be better by than its greater number costs already, in
# natural logarithms: people read one condition more easily than two. With the prior
# of rates, tried on other searches than those of docs/diagnosis.md: at 24 trials of an
# interaction, two conditions without an exception beat one with two.
PAIR_PENALTY: Final = 1.0
# By how much a region must be better that would throw the best trial away.
BEST_PENALTY: Final = 2.0


@dataclass
class Region:
    """A conjunction of conditions, and the trials that meet it.

    Attributes:
        conditions: one or two, on different axes.
        inside: bool [trials].
        p_value: corrected for all the regions that were looked at.
        raw_p: of the one exact test.
        fit: log probability that it gives to the outcome.
        score: the same for its simplicity, over all regions of its class.
    """

    conditions: tuple[HParamCondition, ...]
    inside: Bools
    p_value: float
    raw_p: float
    fit: float
    score: float


@dataclass
class Separation:
    """The result of looking for a separating region.

    Attributes:
        best: the chosen region; None where nothing passes.
        closest: the region on one axis with the smallest p-value, passing or not.
        rivals: regions on one axis that describe the outcome about as well as `best`.
        single_regions: how many regions on one axis were looked at.
        critical: what a p-value, times `single_regions`, must be below to pass.
        preferred: whether `best` was taken for what the runs point at, though the
            only one of `rivals` describes the outcome a little better.
    """

    best: Region | None
    closest: Region | None
    rivals: list[Region]
    single_regions: int
    critical: float
    preferred: bool = False


def separate(
    axes: Sequence[Axis],
    bad: Bools,
    best_trial: int | None = None,
    within: Bools | None = None,
    suspects: Collection[int] = (),
) -> Separation:
    """Returns the region in which trials went bad.

    Args:
        axes: of all trials.
        bad: bool [trials].
        best_trial: index of the clean trial with the best score.
        within: bool [trials], those that are looked at; all by default.
        suspects: axes that the bad runs themselves point at. Regions on these are
            looked at first, and alone: among so many fewer, a rule is found sooner.
    """
    if suspects and len(suspects) < len(axes):
        found = _separate(axes, bad, best_trial, within, suspects, ALPHA)
        if found.best is not None:
            return found
        # Two looks share the error that is promised.
        found = _separate(
            axes, bad, best_trial, within, range(len(axes)), ALPHA / 2, _POINTED
        )
        return _prefer(found, suspects)
    return _separate(axes, bad, best_trial, within, range(len(axes)), ALPHA)


def _separate(
    axes: Sequence[Axis],
    bad: Bools,
    best_trial: int | None,
    within: Bools | None,
    suspects: Collection[int],
    alpha: float,
    worse: float | None = None,
) -> Separation:
    chosen = np.ones(len(bad), np.bool_) if within is None else within
    y = bad[chosen]
    nothing = Separation(None, None, [], 0, 0.0)
    if not axes or not 0 < y.sum() < len(y):
        return nothing
    family = Family(axes, chosen, suspects)
    if not family.singles:
        return nothing
    tested = tested_regions(family, y)
    regions = _ranked(family, tested, y, best_trial, chosen)
    passing = [r for r in regions if r.p_value <= alpha]
    best = max(passing, key=lambda r: r.score, default=None)
    singles = [r for r in regions if len(r.conditions) == 1]
    closest = min(singles, key=lambda r: (r.raw_p, -r.score), default=None)
    if best is not None:
        best = _refine(axes, best, bad, chosen)
    rivals = _rivals(best, regions, worse or _RIVAL) if best is not None else []
    rivals = rivals if worse else rivals[:_MAX_RIVALS]
    # Of regions with the same trials one is looked at; here each is at its best.
    rivals = [_refine(axes, r, bad, chosen) for r in rivals]
    return Separation(best, closest, rivals, len(family.singles), tested.critical)


# Regions of a class that are looked at in full; the others are worse in every way.
_KEEP: Final = 400


def _ranked(
    family: Family,
    tested: Tested,
    y: Bools,
    best_trial: int | None,
    chosen: Bools,
) -> list[Region]:
    n, bad = len(y), int(y.sum())
    marginal = Marginal(n)
    best_at = None
    if best_trial is not None and chosen[best_trial]:
        best_at = int(chosen[:best_trial].sum())

    def fits(inside_bad: Ints, size: Ints) -> Floats:
        return marginal(inside_bad, size) + marginal(bad - inside_bad, n - size)

    regions = []
    single_sizes = family.single_members.sum(axis=1)
    single = fits(tested.single_bad, single_sizes)
    price = math.log(len(single))
    if best_at is not None:
        single = single - BEST_PENALTY * family.single_members[:, best_at]
    for i in np.argsort(-single, kind="stable")[:_KEEP]:
        regions.append(
            _region((family.singles[i],), family.single_members[i], chosen,
                    tested.single_adjusted[i], tested.single_log_p[i], single[i], price)
        )  # fmt: skip
    by_p = int(np.argmin(tested.single_log_p))
    regions.append(
        _region((family.singles[by_p],), family.single_members[by_p], chosen,
                tested.single_adjusted[by_p], tested.single_log_p[by_p], single[by_p], price)
    )  # fmt: skip
    pair = fits(tested.pair_bad, family.pair_sizes)
    price = math.log(max(1, len(pair))) + PAIR_PENALTY
    if best_at is not None and len(pair):
        holds = family.part_members[:, best_at] > 0
        pair = pair - BEST_PENALTY * (holds[family.first] & holds[family.second])
    for i in np.argsort(-pair, kind="stable")[:_KEEP]:
        a, b = family.first[i], family.second[i]
        members = (family.part_members[a] * family.part_members[b]) > 0
        regions.append(
            _region((family.parts[a], family.parts[b]), members, chosen,
                    tested.pair_adjusted[i], tested.pair_log_p[i], pair[i], price)
        )  # fmt: skip
    return regions


def _region(
    conditions: tuple[HParamCondition, ...],
    members: Bools,
    chosen: Bools,
    p_value: float,
    log_p: float,
    fit: float,
    price: float,
) -> Region:
    inside = np.zeros(len(chosen), np.bool_)
    inside[chosen] = members
    p, raw, fit = float(p_value), math.exp(log_p), float(fit)
    return Region(conditions, inside, p, raw, fit, fit - price)


def _refine(axes: Sequence[Axis], region: Region, bad: Bools, chosen: Bools) -> Region:
    """Moves each cut to its best place among all values, where not all were tried."""
    marginal = Marginal(int(chosen.sum()))
    found = list(region.conditions)
    for _ in range(2):
        for i, condition in enumerate(found):
            if condition.op == "in":
                continue
            axis = axes[condition.axis]
            others = chosen.copy()
            for other in found:
                if other is not condition:
                    others &= axes[other.axis].holds(other)
            values = np.unique(axis.numbers[others & ~np.isnan(axis.numbers)])
            if not len(values):
                continue
            options = [
                HParamCondition(condition.axis, condition.op, float(v)) for v in values
            ]
            inside = np.array([axis.holds(o) & others for o in options])
            size, hits = inside.sum(axis=1), (inside & bad).sum(axis=1)
            n, total = int(chosen.sum()), int((bad & chosen).sum())
            score = marginal(hits, size) + marginal(total - hits, n - size)
            score[(size < MIN_SIDE) | (size > n - MIN_SIDE)] = -np.inf
            score[hits * n <= total * size] = -np.inf  # not the bad side
            at = int(np.argmax(score))
            if score[at] > -np.inf:
                found[i] = options[at]
    inside = chosen.copy()
    for condition in found:
        inside &= axes[condition.axis].holds(condition)
    return replace(region, conditions=tuple(found), inside=inside)


# A rival describes the outcome with at least a twentieth of the probability. One that
# the runs themselves point at may do worse by two exceptions, each a factor of 18.
_RIVAL: Final = math.log(20)
_POINTED: Final = math.log(400)
# More than these are no longer a hint, but say that nothing is known.
_MAX_RIVALS: Final = 2


def _rivals(best: Region, regions: Sequence[Region], worse: float) -> list[Region]:
    """Returns for each other axis its best region, if that is about as good as `best`.

    On that axis alone, or with one of the axes of `best` besides. None need pass a
    test by itself: that something is there is known, and the question is what.
    """
    taken = {c.axis for c in best.conditions}
    rivals: dict[int, Region] = {}
    for region in sorted(regions, key=lambda r: -r.fit):
        others = {c.axis for c in region.conditions} - taken
        if len(others) != 1 or len(region.conditions) > len(best.conditions):
            continue
        (axis,) = others
        if axis not in rivals and region.fit >= best.fit - worse and region.raw_p < ALPHA:
            rivals[axis] = region
    return list(rivals.values())


def _prefer(found: Separation, suspects: Collection[int]) -> Separation:
    """Returns `found` with the rival that the runs' causes point at as its best region."""
    best = found.best
    if best is None or any(c.axis in suspects for c in best.conditions):
        return found
    for rival in found.rivals:
        if any(c.axis in suspects for c in rival.conditions):
            return replace(found, best=rival, rivals=[best], preferred=True)
    alike = [r for r in found.rivals if r.fit >= best.fit - _RIVAL]
    return replace(found, rivals=alike[:_MAX_RIVALS])
