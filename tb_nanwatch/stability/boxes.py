# SPDX-License-Identifier: Apache-2.0
"""The largest box of a search space in which next to nothing dies, and its declarations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.declaring.cut import same
from tb_nanwatch.declaring.declaration import declaration, scoped, variable_of
from tb_nanwatch.record.schema import HParam, JSONScalar
from tb_nanwatch.stability.coordinates import Floats, SpaceAxis, on_grid

Bools = npt.NDArray[np.bool_]

# Of the trainings in the space that lives, so many may be expected to die: what is told
# to users is 1 in 20, and the model may be wrong.
RISK: Final = 0.02
SAMPLE: Final = 3000
# Taken off at a time, of what is left; Friedman and Fisher, Bump Hunting in
# High-Dimensional Data, Statistics and Computing 9 (1999), advise 0.05 to 0.1.
_PEEL: Final = 0.04
MAX_LEVELS: Final = 5


@dataclass
class Box:
    """Bounds of a part of the space; positions, and levels by their index."""

    inside: Bools
    bounds: dict[str, tuple[float, float]]
    levels: dict[str, frozenset[int]]

    @property
    def size(self) -> int:
        """Number of the drawn points in it."""
        return int(self.inside.sum())


@dataclass(frozen=True)
class Drawn:
    """Points of the space: [points] positions by axis, NaN where inactive, and risk."""

    at: dict[str, Floats]
    risk: Floats


def largest_box(drawn: Drawn, axes: Sequence[SpaceAxis], within: Bools) -> Box:
    """Returns the largest box whose share of bad values is below `RISK`, or a nearly empty one."""
    levelled = next((a for a in axes if not a.numeric), None)
    if levelled is None or len(levelled.values) > MAX_LEVELS:
        return peeled(drawn, axes, within, {})
    rest = [a for a in axes if a is not levelled]
    every = range(len(levelled.values))
    boxes = []
    for count in range(1, len(levelled.values) + 1):
        for kept in combinations(every, count):
            at = drawn.at[levelled.name]
            mask = within & (np.isnan(at) | np.isin(at, kept))
            levels = {levelled.name: frozenset(kept)} if count < len(every) else {}
            boxes.append(peeled(drawn, rest, mask, levels))
    return max(boxes, key=lambda b: (b.size, -len(b.levels)))


def peeled(
    drawn: Drawn,
    axes: Sequence[SpaceAxis],
    within: Bools,
    levels: dict[str, frozenset[int]],
) -> Box:
    """Returns the box that is left after cutting off the parts that go bad, the worst first."""
    inside = within.copy()
    bounds = {a.name: (-a.units / 2, a.units / 2) for a in axes if a.numeric}
    ends = dict(bounds)
    levels = dict(levels)
    while inside.any() and drawn.risk[inside].mean() > RISK:
        best: tuple[float, Bools, Callable[[], None]] | None = None
        for axis in axes:
            for gone, note in _cuts(drawn, axis, inside, bounds, levels):
                worst = float(drawn.risk[gone].mean())
                if best is None or worst > best[0]:
                    best = worst, gone, note
        if best is None:
            inside[:] = False
            break
        best[2]()
        inside &= ~best[1]
    kept = {name: b for name, b in bounds.items() if b != ends[name]}
    return Box(inside, kept, levels)


def _cuts(
    drawn: Drawn,
    axis: SpaceAxis,
    inside: Bools,
    bounds: dict[str, tuple[float, float]],
    levels: dict[str, frozenset[int]],
) -> list[tuple[Bools, Callable[[], None]]]:
    """Returns the slices that can be cut off along an axis, each with what records that."""
    at = drawn.at[axis.name]
    known = np.unique(at[inside & ~np.isnan(at)])
    if len(known) < 2:
        return []
    if not axis.numeric:
        return [
            _without(axis, level, known, inside & (at == level), levels)
            for level in known
        ]
    values = at[inside & ~np.isnan(at)]
    low, high = bounds[axis.name]
    # The remaining interval ends at a drawn value, so that equal values stay together.
    lowest, highest = np.quantile(values, [_PEEL, 1 - _PEEL])
    first = known[min(int(np.searchsorted(known, lowest)), len(known) - 2)]
    last = known[max(int(np.searchsorted(known, highest)) - 1, 0)]
    above = known[known > first][0]
    return [
        (inside & (at <= first), lambda: bounds.update({axis.name: (above, high)})),
        (inside & (at > last), lambda: bounds.update({axis.name: (low, last)})),
    ]


def _without(
    axis: SpaceAxis,
    level: float,
    known: Floats,
    gone: Bools,
    levels: dict[str, frozenset[int]],
) -> tuple[Bools, Callable[[], None]]:
    rest = frozenset(int(k) for k in known if k != level)
    return gone, lambda: levels.update({axis.name: rest})


def restricted(
    specs: Sequence[HParam], axes: Mapping[str, SpaceAxis], box: Box
) -> tuple[HParam, ...]:
    """Returns the declarations of a space, reduced to the values in a box."""
    found = []
    for spec in specs:
        axis = axes.get(spec.name)
        if axis is not None and spec.name in box.levels:
            kept = [axis.values[i] for i in sorted(box.levels[spec.name])]
            spec = with_values(spec, kept)
        elif axis is not None and spec.name in box.bounds:
            spec = _within(spec, axis, *box.bounds[spec.name])
        found.append(spec)
    return tuple(found)


def with_values(spec: HParam, kept: Sequence[JSONScalar]) -> HParam:
    """Returns a declaration reduced to some of its values."""
    listed = (False, True) if spec.type == "boolean" else spec.values or ()
    values = [v for v in listed if any(same(v, k) for k in kept)]
    if not values:
        return spec
    default = spec.default if spec.default in values else values[0]
    if spec.type == "boolean":
        if len(values) == 2:
            return spec
        return replace(spec, type="fixed", value=values[0], default=values[0])
    return replace(spec, values=values, default=default)


def _within(spec: HParam, axis: SpaceAxis, low: float, high: float) -> HParam:
    """Returns a declaration of the values between two positions."""
    half = axis.units / 2
    if axis.scale == "rank":
        kept = [v for v in axis.values if low - 1e-6 <= axis.position(v) <= high + 1e-6]
        return with_values(spec, kept)
    first, last = spec.min, spec.max
    assert isinstance(first, int | float) and isinstance(last, int | float)
    below, above = axis.value(low), axis.value(high)
    assert isinstance(below, int | float) and isinstance(above, int | float)
    if low > -half:
        first = min(max(_bound(spec, below, math.ceil), first), last)
    if high < half:
        last = max(min(_bound(spec, above, math.floor), last), first)
    if spec.type == "int":
        first, last = round(first), round(last)
    default = spec.default
    if not isinstance(default, int | float) or not first <= default <= last:
        default = first
    return replace(spec, min=first, max=last, default=default)


def _bound(spec: HParam, value: float, rounded: Callable[[float], int]) -> float:
    """Returns a bound on the declaration's grid, or of two digits, on the inner side."""
    if spec.type == "int" or spec.step is not None:
        return on_grid(spec, value, rounded)
    return short_number(value, rounded)


def short_number(value: float, rounded: Callable[[float], int], digits: int = 2) -> float:
    """Returns a number of few digits beside `value`."""
    if value == 0 or not math.isfinite(value):
        return value
    exponent = math.floor(math.log10(abs(value))) - digits + 1
    scaled = value / 10.0**exponent
    return float(f"{rounded(round(scaled, 6))}e{exponent}")


def code_of(specs: Sequence[HParam]) -> str:
    """Returns declarations, each assigned to a variable; they run where `hp` is."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for spec in specs:
        call = declaration(spec)
        if call is None:
            continue
        seen[spec.name] = seen.get(spec.name, 0) + 1
        variable = own = variable_of(spec.name)
        if seen[spec.name] > 1:
            own = f"{variable}_{seen[spec.name]}"
        lines.append(scoped(spec, spec.conditions, f"{own} = {call}"))
        if own != variable:  # an inactive hyperparameter is None
            lines.append(f"{variable} = {own} if {variable} is None else {variable}")
    return "\n".join(lines)
