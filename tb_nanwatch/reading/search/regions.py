# SPDX-License-Identifier: Apache-2.0
"""All candidate regions of a search: one condition, or two on different hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.reading.search.axes import (
    MAX_CUTS,
    MIN_SIDE,
    Axis,
    Bools,
    conditions,
)

# Conditions that are combined with each other, over all axes; 200 make 20,000 pairs.
_PAIR_CONDITIONS: Final = 200
_MIN_PAIR_CUTS: Final = 6
# Below this many trials every cut counts, and all together cost little.
_FEW_TRIALS: Final = 60


Ints = npt.NDArray[np.int64]


class Family:
    """All candidate regions; on each axis, regions with the same trials count as one.

    Args:
        axes: of all trials.
        chosen: bool [trials], those that are looked at.
        suspects: every region is on one of these axes, alone or with another.
    """

    def __init__(
        self, axes: Sequence[Axis], chosen: Bools, suspects: Collection[int]
    ) -> None:
        n = int(chosen.sum())
        rng = np.random.default_rng(0)
        # A region's key: sums of whole numbers below 2 ** 40 are exact in float64 for
        # up to 8,000 trials, and two sets with one sum are out of the question.
        self._weights = rng.integers(1, 1 << 40, n).astype(np.float64)
        everything = [c for i in suspects for c in conditions(i, axes[i], MAX_CUTS)]
        members = np.array([axes[c.axis].holds(c)[chosen] for c in everything])
        kept = self._distinct(members, [c.axis for c in everything])
        self.singles = [everything[i] for i in kept]
        self.single_members: Bools = members[kept]
        self._pairs(axes, chosen, n, suspects)

    def _distinct(self, members: Bools, of: Sequence[int]) -> list[int]:
        """Returns the indices of distinct regions; twins on two axes are both kept."""
        sizes = members.sum(axis=1)
        n = members.shape[1]
        keys = members @ self._weights
        seen: set[tuple[int, float]] = set()
        kept = []
        for i, (axis, size, key) in enumerate(zip(of, sizes, keys, strict=True)):
            if MIN_SIDE <= size <= n - MIN_SIDE and (axis, key) not in seen:
                seen.add((axis, key))
                kept.append(i)
        return kept

    def _pairs(
        self, axes: Sequence[Axis], chosen: Bools, n: int, suspects: Collection[int]
    ) -> None:
        cuts = max(_MIN_PAIR_CUTS, _PAIR_CONDITIONS // (2 * len(axes)))
        if n <= _FEW_TRIALS:
            cuts = max(cuts, 24)
        self.parts = [
            c
            for i, axis in enumerate(axes)
            for c in conditions(i, axis, cuts, pairable=True)
        ]
        self.part_members = np.array(
            [axes[c.axis].holds(c)[chosen] for c in self.parts], np.float32
        )
        first, second = np.triu_indices(len(self.parts), 1)
        of = np.array([c.axis for c in self.parts])
        different = of[first] != of[second]
        wanted = np.isin(of[first], list(suspects)) | np.isin(of[second], list(suspects))
        first, second = first[different & wanted], second[different & wanted]
        part_sizes = self.part_members.sum(axis=1)
        sizes = (self.part_members @ self.part_members.T)[first, second]
        # Where one condition implies the other, their conjunction adds no region.
        new = (
            (sizes >= MIN_SIDE)
            & (sizes < part_sizes[first])
            & (sizes < part_sizes[second])
        )
        first, second, sizes = first[new], second[new], sizes[new]
        wide = self.part_members.astype(np.float64)
        keys = ((wide * self._weights) @ wide.T)[first, second]
        single_keys = self.single_members @ self._weights
        _, at = np.unique(keys, return_index=True)
        at = np.sort(at)
        at = at[~np.isin(keys[at], single_keys)]
        self.first, self.second = first[at], second[at]
        self.pair_sizes = sizes[at].astype(np.int64)
