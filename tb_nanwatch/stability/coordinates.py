# SPDX-License-Identifier: Apache-2.0
"""A search space as axes, and its values as positions on them; pure.

A position is in resolution units: neighbours that are a unit apart are told apart, and
no nearer ones need to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.declaring.cut import same
from tb_nanwatch.record.schema import HParam, JSONScalar

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Values = dict[str, JSONScalar]

# A boundary is known once it lies within this share of a decade.
DECADE_SHARE: Final = 1 / 3
# On a linear scale a decade has no meaning. A rate is mostly searched over four decades,
# of which a third of a decade is a twelfth: as much of any linear range.
LINEAR_SHARE: Final = 1 / 12


@dataclass(frozen=True)
class SpaceAxis:
    """One hyperparameter.

    Attributes:
        name: the hyperparameter's.
        specs: its declarations, one for each conditional scope.
        scale: "linear", "log", "reverse_log" or "rank" of a numeric one; "" where it has
            levels without an order.
        values: the levels, or the sorted values of a "rank".
        low, high: ends of the range of a numeric one, over all declarations.
        units: resolution units from `low` to `high`.
    """

    name: str
    specs: tuple[HParam, ...]
    scale: str = ""
    values: tuple[JSONScalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    units: float = 0.0

    @property
    def numeric(self) -> bool:
        """Whether its values have an order and a distance."""
        return bool(self.scale)

    def position(self, value: JSONScalar) -> float:
        """Returns a value's position in units from the middle; for a level, its index."""
        if not self.scale:
            return float(_index(self.values, value))
        if self.scale == "rank":
            return _index(self.values, value) - self.units / 2
        assert isinstance(value, int | float)
        return (self._share(float(value)) - 0.5) * self.units

    def value(self, position: float) -> JSONScalar:
        """Returns the value at a position, on no grid that a step may ask for."""
        if not self.scale:
            return self.values[round(position)]
        if self.scale == "rank":
            at = round(position + self.units / 2)
            return self.values[min(max(at, 0), len(self.values) - 1)]
        share = min(max(position / self.units + 0.5, 0.0), 1.0) if self.units else 0.0
        if self.scale == "log":
            return float(self.low * (self.high / self.low) ** share)
        if self.scale == "reverse_log":
            mirrored = self.low * (self.high / self.low) ** (1 - share)
            return float(self.high + self.low - mirrored)
        return self.low + share * (self.high - self.low)

    def _share(self, value: float) -> float:
        if self.high <= self.low:
            return 0.5
        if self.scale == "log":
            return math.log(max(value, 1e-300) / self.low) / math.log(
                self.high / self.low
            )
        if self.scale == "reverse_log":
            inner = max(self.high + self.low - value, 1e-300) / self.low
            return 1 - math.log(inner) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _index(values: Sequence[JSONScalar], value: JSONScalar) -> int:
    for i, known in enumerate(values):
        if type(known) is type(value) and known == value:
            return i
    return values.index(value)


def axes_of(specs: Sequence[HParam]) -> list[SpaceAxis]:
    """Returns the axes of a space, in its order; a hyperparameter with one value is no axis.

    Args:
        specs: all declarations, in the space's order; values are not read.
    """
    by_name: dict[str, list[HParam]] = {}
    for spec in specs:
        by_name.setdefault(spec.name, []).append(spec)
    found = [_axis(name, tuple(of)) for name, of in by_name.items()]
    return [axis for axis in found if axis is not None]


def _axis(name: str, specs: tuple[HParam, ...]) -> SpaceAxis | None:
    if all(s.type in ("int", "float") for s in specs):
        lows, highs = _numbers(s.min for s in specs), _numbers(s.max for s in specs)
        low, high = min(lows, default=math.nan), max(highs, default=math.nan)
        if not low < high:
            return None
        scale = specs[0].sampling or "linear"
        if scale != "linear" and low <= 0:
            scale = "linear"
        return SpaceAxis(
            name, specs, scale, (), low, high, _units(specs, scale, low, high)
        )
    values: list[JSONScalar] = []
    for spec in specs:
        listed = (False, True) if spec.type == "boolean" else spec.values or ()
        values += [v for v in listed if not any(same(v, w) for w in values)]
    if len(values) < 2:
        return None
    ordered = all(s.type == "choice" and s.ordered is not False for s in specs)
    if ordered and all(isinstance(v, int | float) for v in values):
        numbers = sorted(v for v in values if isinstance(v, int | float))
        return SpaceAxis(name, specs, "rank", tuple(numbers), units=len(numbers) - 1.0)
    return SpaceAxis(name, specs, "", tuple(values))


def _numbers(values: object) -> list[float]:
    return [
        float(v)
        for v in values  # type: ignore[attr-defined]
        if isinstance(v, int | float) and math.isfinite(v)
    ]


def _units(specs: tuple[HParam, ...], scale: str, low: float, high: float) -> float:
    if scale == "linear":
        units = 1 / LINEAR_SHARE
        whole = all(s.type == "int" for s in specs)
        steps = [float(s.step) if isinstance(s.step, int | float) else float(whole)
                 for s in specs]  # fmt: skip
        step = min(steps)
        return min(units, (high - low) / step) if step > 0 else units
    return max(1.0, math.log10(high / low) / DECADE_SHARE)


@dataclass(frozen=True)
class Points:
    """Sets of values, as numbers.

    Attributes:
        numbers: [points, numeric axes], positions; 0 where inactive.
        codes: [points, other axes], level indices; -1 where inactive.
    """

    numbers: Floats
    codes: Ints

    def __len__(self) -> int:
        return len(self.numbers)

    def joined(self, other: Points) -> Points:
        """Returns the points of both, those of `other` last."""
        return Points(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.codes, other.codes]),
        )


@dataclass(frozen=True)
class Coordinates:
    """A search space.

    Attributes:
        specs: all declarations, in the space's order.
        axes: the hyperparameters that can vary.
    """

    specs: tuple[HParam, ...]
    axes: tuple[SpaceAxis, ...]

    @classmethod
    def of(cls, specs: Sequence[HParam]) -> Coordinates:
        """Returns the coordinates of a space."""
        return cls(tuple(specs), tuple(axes_of(specs)))

    @property
    def numeric(self) -> list[SpaceAxis]:
        """The axes with an order."""
        return [a for a in self.axes if a.numeric]

    @property
    def levelled(self) -> list[SpaceAxis]:
        """The axes with levels."""
        return [a for a in self.axes if not a.numeric]

    def encode(self, values: Sequence[Mapping[str, JSONScalar]]) -> Points:
        """Returns sets of values as points; missing or unknown values count as inactive."""
        numeric, levelled = self.numeric, self.levelled
        numbers = np.zeros((len(values), len(numeric)))
        codes = np.full((len(values), len(levelled)), -1, np.int64)
        for i, given in enumerate(values):
            for d, axis in enumerate(numeric):
                numbers[i, d] = _position(axis, given.get(axis.name), 0.0)
            for k, axis in enumerate(levelled):
                codes[i, k] = int(_position(axis, given.get(axis.name), -1.0))
        return Points(numbers, codes)

    def decode(self, positions: Mapping[str, float]) -> Values:
        """Returns the values at a position on every axis: those that are active.

        Args:
            positions: by name; of levels their index.
        """
        axes = {a.name: a for a in self.axes}
        values: Values = {}
        for spec in self.specs:
            if spec.name in values or not is_active(spec, values):
                continue
            if spec.name in axes:
                value = axes[spec.name].value(positions[spec.name])
                values[spec.name] = _fitted(spec, value)
            else:
                values[spec.name] = spec.default if spec.type != "fixed" else spec.value
        return values

    def sample(self, count: int, rng: np.random.Generator) -> list[Values]:
        """Returns random sets of values, drawn as KerasTuner's RandomSearch does."""
        return [self.decode(self.draw(rng)) for _ in range(count)]

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Returns a random position on every axis, as for `decode`."""
        return {
            a.name: rng.uniform(-a.units / 2, a.units / 2)
            if a.numeric and a.scale != "rank"
            else rng.integers(len(a.values)) - (a.units / 2 if a.numeric else 0)
            for a in self.axes
        }


def _position(axis: SpaceAxis, value: JSONScalar, otherwise: float) -> float:
    if value is None:
        return otherwise
    try:
        return axis.position(value)
    except (ValueError, AssertionError):
        return otherwise


def is_active(spec: HParam, values: Mapping[str, JSONScalar]) -> bool:
    """Returns whether all of a declaration's conditions hold."""
    return all(
        c.name in values and any(values[c.name] == v for v in c.values)
        for c in spec.conditions
    )


def _fitted(spec: HParam, value: JSONScalar) -> JSONScalar:
    """Returns a value that the declaration allows: within its bounds, on its grid."""
    if spec.type not in ("int", "float"):
        if spec.values and not any(same(value, v) for v in spec.values):
            return spec.values[0]
        return value
    low, high = spec.min, spec.max
    assert isinstance(value, int | float) and isinstance(low, int | float)
    assert isinstance(high, int | float)
    number = min(max(float(value), float(low)), float(high))
    number = on_grid(spec, number, round)
    return round(number) if spec.type == "int" else number


def on_grid(spec: HParam, value: float, rounded: object) -> float:
    """Returns the value of the declaration's grid beside `value`; itself without one.

    Args:
        spec: of an "int" or "float".
        value: within its bounds.
        rounded: `round`, `math.floor` or `math.ceil`.
    """
    low, high, step = spec.min, spec.max, spec.step
    assert isinstance(low, int | float) and isinstance(high, int | float)
    assert callable(rounded)
    if not isinstance(step, int | float) or spec.sampling == "reverse_log":
        return float(rounded(value)) if spec.type == "int" else value
    if spec.sampling == "log":
        last = int(math.log(high / low, step) + 1e-8)
        at = rounded(round(math.log(value / low, step), 9))
        return float(low * step ** min(max(at, 0), last))
    last = int((high - low) // step)
    return float(low + step * min(max(rounded(round((value - low) / step, 9)), 0), last))
