# SPDX-License-Identifier: Apache-2.0
"""Cuts of one hyperparameter's range: which values go, and where the boundary lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tb_nanwatch.record.schema import JSONScalar


@dataclass(frozen=True)
class Cut:
    """The values that are removed from one hyperparameter.

    Attributes:
        name: of the hyperparameter.
        op: "ge" removes the values above `bound`, "le" those below it, "in" `values`.
        bound: the last value that stays.
        values: the removed ones, where `op` is "in".
    """

    name: str
    op: str
    bound: float = math.nan
    values: tuple[JSONScalar, ...] = ()

    def takes(self, value: JSONScalar) -> bool:
        """Returns whether `value` is cut away."""
        if self.op == "in":
            return any(same(value, v) for v in self.values)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value > self.bound if self.op == "ge" else value < self.bound


def same(a: JSONScalar, b: JSONScalar) -> bool:
    """Returns whether two values are equal and of one type: 1 differs from True and 1.0."""
    return type(a) is type(b) and a == b


def short_between(live: float, dead: float, log: bool) -> float:
    """Returns the number with the fewest digits near the middle of an interval, within it.

    It may equal `live`, which stays, and never `dead`, which goes.
    """
    low, high = min(live, dead), max(live, dead)
    middle = math.sqrt(low) * math.sqrt(high) if log and low > 0 else low / 2 + high / 2
    for digits in range(1, 17):
        rounded = float(f"{middle:.{digits - 1}e}")
        if low <= rounded <= high and rounded != dead:
            return rounded
    return live
