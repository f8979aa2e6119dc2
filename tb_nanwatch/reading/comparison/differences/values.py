# SPDX-License-Identifier: Apache-2.0
"""Compares two values of one name, and words their difference."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.diagnosis.measured import number
from tb_nanwatch.reading.comparison.differences.found import (
    TOLERANCE,
)
from tb_nanwatch.reading.contract.comparisons import Difference
from tb_nanwatch.record.schema import (
    JSONScalar,
)
from tb_nanwatch.wording.comparison_text import difference_text

# What must agree is compared to float32's own resolution.
_SAME: Final = 1e-6


def compared(
    topic: str, a: dict[str, JSONScalar], b: dict[str, JSONScalar]
) -> list[Difference]:
    """Returns the differences between two sets of named values."""
    found = []
    for name in dict.fromkeys([*a, *b]):
        one, other = a.get(name), b.get(name)
        if not _same(one, other):
            found.append(difference(topic, name, one, other))
    return found


def _same(a: JSONScalar, b: JSONScalar) -> bool:
    x, y = number(a), number(b)
    if math.isnan(x) or math.isnan(y):
        return type(a) is type(b) and (a == b or (x != x and y != y and a != a))
    return math.isclose(x, y, rel_tol=_SAME, abs_tol=0.0)


def difference(
    topic: str, name: str, first: JSONScalar, second: JSONScalar, what: str = ""
) -> Difference:
    """Returns one difference, with its sentence; `what` names it there."""
    decades = decades_between(number(first), number(second))
    said = decades if decades is not None and abs(decades) >= TOLERANCE else None
    text = difference_text(what or name, first, second, said)
    return Difference(topic, name, first, second, decades, False, text)


def decades_between(first: float, second: float) -> float | None:
    """Returns log10 of the ratio of two positive numbers, None for other values."""
    if not (first > 0 and second > 0 and math.isfinite(first) and math.isfinite(second)):
        return None
    return math.log10(first) - math.log10(second)
