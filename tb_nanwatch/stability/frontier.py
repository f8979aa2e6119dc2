# SPDX-License-Identifier: Apache-2.0
"""Where the frontier runs: boundaries with their living, dead and unsure sides; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

import numpy as np

from tb_nanwatch.record.schema import Boundary, JSONScalar
from tb_nanwatch.stability.coordinates import (
    Coordinates,
    Floats,
    Ints,
    Points,
    SpaceAxis,
    Values,
)
from tb_nanwatch.stability.model import Model, fit, normal_cdf

# Where at least so much of the belief says that half of the seeds live, or die, it is
# taken for known.
SURE: Final = 0.9
# A hyperparameter moves the frontier if it does so by more than a unit over its range.
_MOVES: Final = 1.0
# Points a unit at which the frontier is looked for.
_FINE: Final = 4
# More places than this are no table that anyone would read.
_MAX_PLACES: Final = 24
# Places at which the effect of an axis is measured.
_BASES: Final = 32


def share_dead(mean: Floats, deviation: Floats) -> Floats:
    """Returns the probability that more than half of the seeds die, by the belief about f.

    Args:
        mean, deviation: [points] of f.
    """
    return normal_cdf(mean / deviation)


@dataclass(frozen=True)
class KnownFrontier:
    """The frontier as far as the outcomes show it.

    Attributes:
        model: behind it.
        main: the axis along which it runs, None where no number shifts it.
        movers: the other axes that move it, the strongest first.
        boundaries: at low, middle and high values, or each level, of the movers.
        trials, bad: number of trials that it rests on, and how many went bad.
    """

    model: Model
    main: SpaceAxis | None
    movers: tuple[SpaceAxis, ...]
    boundaries: tuple[Boundary, ...]
    trials: int
    bad: int

    @property
    def unsure(self) -> list[Boundary]:
        """The boundaries that are not known well enough."""
        return [b for b in self.boundaries if not b.sure]


def model_of(coordinates: Coordinates, tried: Points, bad: Floats) -> Model:
    """Returns the model of a space's outcomes."""
    return fit(np.array([a.units / 2 for a in coordinates.numeric]), tried, bad)


def frontier_of(
    coordinates: Coordinates, values: Sequence[Mapping[str, JSONScalar]], bad: Floats
) -> KnownFrontier:
    """Returns the frontier that the outcomes so far show.

    Args:
        coordinates: of the space.
        values: of each trial; at least one.
        bad: [trials] 1.0 where it went bad, else 0.0.
    """
    tried = coordinates.encode(values)
    model = model_of(coordinates, tried, bad)
    mixed = bool(0 < bad.sum() < len(bad))
    effects = _effects(coordinates, model) if mixed else {}
    numeric = [a for a in coordinates.numeric if effects.get(a.name, 0) > 0]
    main = max(numeric, key=lambda a: effects[a.name], default=None)
    movers = _movers(coordinates, effects, main)
    boundaries: list[Boundary] = []
    kept: list[SpaceAxis] = []
    for axis in movers:
        places = math.prod(len(_places(a)) for a in [*kept, axis])
        if places <= _MAX_PLACES:
            kept.append(axis)
    usual = _usual(coordinates, values)
    levelled = [a for a in kept if not a.numeric]
    for levels in product(*(_places(a) for a in levelled)):
        there = {a.name: p for a, p in zip(levelled, levels, strict=True)}
        # Other numbers may be active at other levels, and others move the frontier.
        active = coordinates.decode(usual | there)
        lines = [a for a in (main, *movers) if a and a.numeric and a.name in active]
        line = lines[0] if lines else None
        across = [a for a in kept if a.numeric and a in lines[1:]]
        for place in product(*(_places(a) for a in across)):
            where = there | {a.name: p for a, p in zip(across, place, strict=True)}
            boundaries += _along(coordinates, model, line, where, usual)
    return KnownFrontier(
        model, main, tuple(movers), tuple(boundaries), len(bad), int(bad.sum())
    )


def _effects(coordinates: Coordinates, model: Model) -> dict[str, float]:
    bases = _bases(coordinates)
    values = [coordinates.decode(b) for b in bases]
    mean, _ = model.predict(coordinates.encode(values))
    nearest = np.argsort(np.abs(mean), kind="stable")
    found = {}
    for axis in coordinates.axes:
        active = [bases[i] for i in nearest if axis.name in values[i]][:_BASES]
        found[axis.name] = _effect(coordinates, model, active, axis) if active else 0.0
    return found


def _movers(
    coordinates: Coordinates, effects: Mapping[str, float], main: SpaceAxis | None
) -> list[SpaceAxis]:
    """Returns the axes that shift the frontier along `main`, the strongest first."""
    if not effects:
        return []
    # Without a number along which it runs, what matters is whether a level changes sides.
    least = effects[main.name] / main.units * _MOVES if main else 2.0
    movers = [a for a in coordinates.axes if a is not main and effects[a.name] > least]
    # What decides which numbers there are decides which frontier there is.
    parents = {
        c.name
        for a in (main, *movers)
        if a is not None and a.numeric
        for s in a.specs
        for c in s.conditions
    }
    movers += [a for a in coordinates.levelled if a.name in parents and a not in movers]
    return sorted(movers, key=lambda a: -effects[a.name])


def _usual(
    coordinates: Coordinates, values: Sequence[Mapping[str, JSONScalar]]
) -> dict[str, float]:
    """Returns default positions on all axes: the middle, or the level tried most often."""
    found = {}
    for axis in coordinates.axes:
        if axis.numeric:
            found[axis.name] = 0.0
            continue
        codes = [int(axis.position(v[axis.name])) for v in values if axis.name in v]
        found[axis.name] = float(max(set(codes), key=codes.count)) if codes else 0.0
    return found


def _places(axis: SpaceAxis) -> list[float]:
    if not axis.numeric:
        return [float(i) for i in range(len(axis.values))]
    half = axis.units / 2
    return [-half, half] if axis.units < 2 else [-half, 0.0, half]


def _bases(coordinates: Coordinates) -> list[dict[str, float]]:
    """Returns random points; the axes' effects are measured from those nearest to the frontier."""
    rng = np.random.default_rng(0)
    return [
        {
            a.name: float(rng.uniform(-a.units / 2, a.units / 2))
            if a.numeric
            else float(rng.integers(len(a.values)))
            for a in coordinates.axes
        }
        for _ in range(4 * _BASES)
    ]


def _effect(
    coordinates: Coordinates, model: Model, bases: list[dict[str, float]], axis: SpaceAxis
) -> float:
    """Returns by how much the mean of f differs along an axis, in logits."""
    if axis.numeric:
        along = list(np.linspace(-axis.units / 2, axis.units / 2, 9))
    else:
        along = [float(i) for i in range(len(axis.values))]
    values = [
        coordinates.decode(base | {axis.name: at}) for base in bases for at in along
    ]
    mean, _ = model.predict(coordinates.encode(values))
    by_base = mean.reshape(len(bases), len(along))
    return float(np.median(by_base.max(axis=1) - by_base.min(axis=1)))


def _along(
    coordinates: Coordinates,
    model: Model,
    main: SpaceAxis | None,
    where: dict[str, float],
    usual: dict[str, float],
) -> list[Boundary]:
    """Returns the boundaries along `main` at one place; one without any where none is."""
    here = usual | where
    values = coordinates.decode(here)
    told = {name: values[name] for name in where if name in values}
    if main is None:
        mean, deviation = model.predict(coordinates.encode([values]))
        dead = float(share_dead(mean, deviation)[0])
        return [_whole("", told, dead)]
    if main.name not in values:
        return []
    line, points = _line(coordinates, main, here)
    dead_shares = share_dead(*model.predict(points))
    states = np.where(dead_shares >= SURE, 1, np.where(dead_shares <= 1 - SURE, -1, 0))
    found = _changes(main, told, line, states, dead_shares)
    return found or [_whole(main.name, told, float(np.median(dead_shares)))]


def _line(
    coordinates: Coordinates, main: SpaceAxis, here: dict[str, float]
) -> tuple[list[JSONScalar], Points]:
    """Returns the values of an axis, each once, and the points that have them."""
    count = round(main.units * _FINE) + 1 if main.scale != "rank" else len(main.values)
    rows: list[Values] = []
    for at in np.linspace(-main.units / 2, main.units / 2, max(count, 2)):
        row = coordinates.decode(here | {main.name: float(at)})
        if not rows or row[main.name] != rows[-1][main.name]:
            rows.append(row)
    return [r[main.name] for r in rows], coordinates.encode(rows)


def _changes(
    main: SpaceAxis,
    where: Values,
    line: list[JSONScalar],
    states: Ints,
    dead: Floats,
) -> list[Boundary]:
    """Returns a boundary for each interval between values whose outcome is known, or beside them."""
    found = []
    known = [i for i, s in enumerate(states) if s != 0]
    marks: list[int | None] = [None, *known, None]
    for low, high in pairwise(marks):
        first = int(states[low]) if low is not None else 0
        last = int(states[high]) if high is not None else 0
        inside = range(0 if low is None else low + 1, len(line) if high is None else high)
        # What is unsure beside, or between, what is known on one side alone is a
        # boundary only if it leans to the other one.
        one_side = {first, last} - {0} and first != -last
        if one_side and _same_side(dead, inside, first or last):
            continue
        living = next((i for i, s in ((low, first), (high, last)) if s == -1), None)
        died = next((i for i, s in ((low, first), (high, last)) if s == 1), None)
        above = first == -1 or (first == 0 and last != -1)
        wide = _width(main, line, low, high)
        found.append(
            Boundary(
                name=main.name,
                where=dict(where),
                dead_above=bool(above),
                living=None if living is None else line[living],
                dead=None if died is None else line[died],
                middle=_middle(line, dead, inside, living, died),
                sure=bool(first and last) and _is_narrow(main, wide, low, high),
            )
        )
    return found


def _same_side(dead: Floats, inside: range, side: int) -> bool:
    """Returns whether all uncertain values lean to the side of the known ones."""
    leaning = dead[list(inside)] - 0.5
    return bool((leaning * side > 0).all())


def _width(
    main: SpaceAxis, line: list[JSONScalar], low: int | None, high: int | None
) -> float:
    first = -main.units / 2 if low is None else main.position(line[low])
    last = main.units / 2 if high is None else main.position(line[high])
    return last - first


def _is_narrow(main: SpaceAxis, wide: float, low: int | None, high: int | None) -> bool:
    neighbours = low is not None and high is not None and high - low == 1
    return wide <= 1.0 + 1e-9 or (neighbours and main.scale != "log")


def _middle(
    line: list[JSONScalar],
    dead: Floats,
    inside: range,
    living: int | None,
    died: int | None,
) -> JSONScalar:
    """Returns the value at which half of the seeds are likeliest to die."""
    among = [*inside, *(i for i in (living, died) if i is not None)]
    nearest: int = min(among, key=lambda i: abs(float(dead[i]) - 0.5))
    return line[nearest]


def _whole(name: str, where: Values, dead: float) -> Boundary:
    """Returns the boundary record for a range that is stable, or bad, as a whole."""
    return Boundary(
        name=name,
        where=dict(where),
        all_dead=dead > 0.5,
        all_living=dead <= 0.5,
        sure=dead >= SURE or dead <= 1 - SURE,
    )
