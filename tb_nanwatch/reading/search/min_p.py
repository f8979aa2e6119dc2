# SPDX-License-Identifier: Apache-2.0
"""How small a p-value the smallest of many gets by chance: Westfall and Young's min-p test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tb_nanwatch.reading.search.axes import (
    Bools,
)
from tb_nanwatch.reading.search.regions import Family, Ints
from tb_nanwatch.reading.search.statistics import Floats, log_tails

# A finding is reported where chance alone would give one as clear with at most this
# probability. At most 5 % false findings are promised; a search has a second finding
# now and then, which is looked for in what the first one leaves.
ALPHA: Final = 0.03
# Shuffles: 499 resolve p = 0.002; smaller ones come from Bonferroni's bound. With
# more trials fewer are made, so that 1,000 trials x 10 hyperparameters take a second.
MAX_SHUFFLES: Final = 499
MIN_SHUFFLES: Final = 199
_WORK: Final = 1e9


@dataclass
class Tested:
    """Log p-values and corrected p-values of all regions of a family."""

    single_bad: Ints
    pair_bad: Ints
    single_log_p: Floats
    pair_log_p: Floats
    single_adjusted: Floats
    pair_adjusted: Floats
    critical: float


class _Counts:
    """Counts bad trials within all regions, for one outcome or for many.

    Args:
        family: the regions.
        flipped: whether outcomes are given as their complement, the good trials: the rarer
            outcome is counted, which is fewer rows to multiply.
    """

    def __init__(self, family: Family, flipped: bool) -> None:
        self._flipped = flipped
        self._members = family.single_members.astype(np.float32)
        self._parts = np.ascontiguousarray(family.part_members.T)
        self._pair_at = family.first * len(family.parts) + family.second
        self.single_sizes = family.single_members.sum(axis=1)
        self._pair_sizes = family.pair_sizes

    def singles(self, rare: Bools) -> Ints:
        """Returns [outcomes, regions], the bad trials within regions of one condition.

        Args:
            rare: [outcomes, trials].
        """
        found: Ints = np.rint(rare.astype(np.float32) @ self._members.T).astype(np.int64)
        return self.single_sizes - found if self._flipped else found

    def pairs(self, rare: Bools) -> Ints:
        """Returns [regions], the bad trials within regions of two conditions.

        Args:
            rare: [trials].
        """
        part = self._parts[rare]
        found: Ints = np.rint((part.T @ part).ravel()[self._pair_at]).astype(np.int64)
        return self._pair_sizes - found if self._flipped else found


def tested_regions(family: Family, y: Bools) -> Tested:
    """Returns the p-values of all regions of a family.

    Args:
        family: the regions.
        y: [trials], those that went bad.
    """
    n, bad = len(y), int(y.sum())
    counts = _Counts(family, flipped=bad > n - bad)
    rare_y = ~y if bad > n - bad else y
    sizes = np.unique(np.concatenate([counts.single_sizes, family.pair_sizes]))
    table = log_tails(n, bad, sizes).ravel()
    single_rows = np.searchsorted(sizes, counts.single_sizes) * (bad + 1)
    pair_rows = np.searchsorted(sizes, family.pair_sizes) * (bad + 1)
    # Both classes share the error equally, whatever their numbers.
    single_cost = math.log(max(1, len(family.singles)))
    pair_cost = math.log(max(1, len(family.first)))
    single_bad, pair_bad = counts.singles(rare_y[None])[0], counts.pairs(rare_y)
    single_log_p = table[single_rows + single_bad]
    pair_log_p = table[pair_rows + pair_bad]
    work = len(family.parts) ** 2 * min(bad, n - bad) + 20.0 * len(family.first)
    shuffles = int(np.clip(_WORK / work, MIN_SHUFFLES, MAX_SHUFFLES))
    rng = np.random.default_rng(0)
    shuffled_y = np.array([rng.permutation(rare_y) for _ in range(shuffles)])
    small = table.astype(np.float32)  # for the shuffles: half the memory traffic
    least = small[single_rows + counts.singles(shuffled_y)].min(axis=1) + single_cost
    least = least.astype(np.float64)
    if len(family.first):
        for i in range(shuffles):
            smallest = small[pair_rows + counts.pairs(shuffled_y[i])].min()
            least[i] = min(least[i], smallest + pair_cost)
    least.sort()
    passing = int(ALPHA * (1 + shuffles)) - 1
    return Tested(
        single_bad,
        pair_bad,
        single_log_p,
        pair_log_p,
        _adjusted(single_log_p + single_cost, least),
        _adjusted(pair_log_p + pair_cost, least),
        math.exp(least[passing]),
    )


def _adjusted(cost: Floats, least: Floats) -> Floats:
    """Returns p-values that are corrected for all regions.

    Args:
        cost: log p-values, with the logarithm of how many regions their class has.
        least: [shuffles] the least of them where chance alone was at work, sorted.
    """
    as_small = np.searchsorted(least, cost + 1e-4, side="right")
    shuffled = (1 + as_small) / (1 + len(least))
    # Beyond what shuffling can resolve: Bonferroni over both classes.
    bound = 2 * np.exp(np.minimum(cost, 0.0))
    return np.where(as_small == 0, np.minimum(shuffled, bound), shuffled)
