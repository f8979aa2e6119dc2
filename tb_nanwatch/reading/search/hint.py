# SPDX-License-Identifier: Apache-2.0
"""The condition that a search hints at and its counts do not prove; pure.

It is the hint of `analysis`, or, where that finds none, the condition on one
hyperparameter that separates bad trials from good ones without an exception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tb_nanwatch.reading.search.analysis import separations
from tb_nanwatch.reading.search.axes import Axis, HParamCondition
from tb_nanwatch.reading.search.min_p import ALPHA
from tb_nanwatch.reading.search.trials import (
    ComparedTrial,
    Space,
    bounds_of,
    other_side_text,
    region_text,
)
from tb_nanwatch.reading.search.verdict import mend_first, without_exception
from tb_nanwatch.record.schema import JSONScalar


@dataclass(frozen=True)
class HintPart:
    """A condition on one hyperparameter.

    Attributes:
        name: the hyperparameter's.
        dead: the mildest value that is known to go bad; NaN of one without an order.
        live: the harshest on the other side, NaN where none is known.
        above: whether values from `dead` on meet the condition; else those up to it do.
        levels: values that meet it, of one without an order.
    """

    name: str
    dead: float = math.nan
    live: float = math.nan
    above: bool = True
    levels: tuple[JSONScalar, ...] = ()

    def meets(self, value: JSONScalar) -> bool:
        """Returns whether a value is on the side that goes bad."""
        if math.isnan(self.dead):
            return any(type(value) is type(v) and value == v for v in self.levels)
        if not isinstance(value, int | float):
            return False
        return value >= self.dead if self.above else value <= self.dead

    def fails(self, value: JSONScalar) -> bool:
        """Returns whether a value is on the other side, and not between the two."""
        if math.isnan(self.dead) or math.isnan(self.live):
            return not self.meets(value)
        if not isinstance(value, int | float):
            return True
        return value <= self.live if self.above else value >= self.live


@dataclass(frozen=True)
class Hint:
    """A condition that may be associated with going bad.

    Attributes:
        text: "optimizer = sgd and learning_rate >= 0.3", as the report has it.
        other: "learning_rate <= 0.1", its other side; "" where that is all else.
        parts: all must hold.
    """

    text: str
    other: str
    parts: tuple[HintPart, ...]

    def holds(self, values: Mapping[str, JSONScalar]) -> bool:
        """Returns whether active values meet the condition."""
        return all(p.name in values and p.meets(values[p.name]) for p in self.parts)

    def is_beyond(self, values: Mapping[str, JSONScalar]) -> bool:
        """Returns whether active values are on its other side, and not between."""
        return any(p.name not in values or p.fails(values[p.name]) for p in self.parts)


def hint_of(
    trials: Sequence[ComparedTrial], direction: str | None = "min"
) -> Hint | None:
    """Returns the hint of a search.

    Args:
        trials: of one search, each once.
        direction: "min" or "max", of the objective.

    Returns:
        None where the counts prove a condition, where nothing points at one, and where
        the cause lies in the program or its data: then no value is to blame.
    """
    space = Space.of(trials, direction)
    if not 0 < int(space.bad.sum()) < len(trials) or not space.axes or mend_first(space):
        return None
    separation, left = next(separations(space))
    region = separation.best or without_exception(space, separation)
    if region is None or (separation.best is not None and region.p_value <= ALPHA):
        return None
    parts = tuple(
        _part(space.axes[c.axis], c, bounds_of(space.axes, region, c, left))
        for c in region.conditions
    )
    other = ""
    if len(region.conditions) == 1:
        (one,) = region.conditions
        bounds = bounds_of(space.axes, region, one, left)
        other = other_side_text(space.axes[one.axis], one, *bounds)
    return Hint(region_text(space, region, left), other, parts)


def _part(
    axis: Axis, condition: HParamCondition, bounds: tuple[float, float]
) -> HintPart:
    if condition.op == "in":
        levels = tuple(axis.levels[i] for i in sorted(condition.levels))
        return HintPart(axis.name, levels=levels)
    live, dead = bounds
    return HintPart(axis.name, dead, live, condition.op == "ge")
