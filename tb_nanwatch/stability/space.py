"""The space that lives: the largest part of a search space in which next to nothing dies.

Three forms are tried, and the one that keeps most is told: one box; a box for each level
of a hyperparameter (conditional scopes); a bound that depends on another number. KerasTuner
holds the first alone without a change of the model's code: hyperparameters of one name in
several scopes lose their values (`HyperParameters.ensure_active_values`), and a bound that
is computed in `build` stays what it was at the first call. Code can say all three.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.reading.search.edit import declaration, number_text
from tb_nanwatch.record.schema import Condition, HParam, JSONScalar
from tb_nanwatch.stability.coordinates import Axis, Coordinates, Floats, Values, on_grid
from tb_nanwatch.stability.frontier import Frontier
from tb_nanwatch.stability.model import normal_cdf

Bools = npt.NDArray[np.bool_]

# Of the trainings in the space that lives, so many may be expected to die: what is told
# to users is 1 in 20, and the model may be wrong.
_RISK: Final = 0.02
_SAMPLE: Final = 3000
# Taken off at a time, of what is left; Friedman and Fisher, Bump Hunting in
# High-Dimensional Data, Statistics and Computing 9 (1999), advise 0.05 to 0.1.
_PEEL: Final = 0.04
# A form that is harder to read has to keep so much more.
_WORTH: Final = 1.2
# A level of which less than this lives is left out.
_LEAST: Final = 0.05
_MAX_LEVELS: Final = 5
_INDENT: Final = "    "


@dataclass(frozen=True)
class StableSpace:
    """The space that lives.

    Attributes:
        specs: declarations of one box, those of what varies no more included; empty where
            nothing lives.
        kept: share of the searched space that the box keeps.
        code: declares the whole space, in the form that keeps most; "" where nothing lives.
        code_kept: share that this form keeps.
        form: "whole", "box", "scopes", "dependent" or "nothing".
    """

    specs: tuple[HParam, ...]
    kept: float
    code: str
    code_kept: float
    form: str


@dataclass
class _Box:
    """Bounds of a part of the space; positions, and levels by their index."""

    inside: Bools
    bounds: dict[str, tuple[float, float]]
    levels: dict[str, frozenset[int]]

    @property
    def size(self) -> int:
        return int(self.inside.sum())


@dataclass(frozen=True)
class _Drawn:
    """Points of the space: [points] positions by axis, NaN where inactive, and risk."""

    at: dict[str, Floats]
    risk: Floats


def stable_space_of(coordinates: Coordinates, frontier: Frontier) -> StableSpace:
    """Returns the space that lives, as far as the frontier is known."""
    if not frontier.bad:
        every = coordinates.specs
        return StableSpace(every, 1.0, _code(every), 1.0, "whole")
    drawn = _draw(coordinates, frontier)
    axes = [a for a in (frontier.main, *frontier.movers) if a is not None]
    whole = np.ones(_SAMPLE, np.bool_)
    box = _largest(drawn, axes, whole)
    if frontier.bad == frontier.trials or box.size < _LEAST**2 * _SAMPLE:
        return StableSpace((), 0.0, "", 0.0, "nothing")
    by_name = {a.name: a for a in coordinates.axes}
    specs = _restricted(coordinates.specs, by_name, box)
    best = StableSpace(specs, box.size / _SAMPLE, _code(specs), box.size / _SAMPLE, "box")
    for form, size, code in (
        _scopes(coordinates, drawn, axes),
        _dependent(coordinates, frontier, drawn, axes),
    ):
        if size > _WORTH * best.code_kept * _SAMPLE:
            best = replace(best, code=code, code_kept=size / _SAMPLE, form=form)
    return best


def _draw(coordinates: Coordinates, frontier: Frontier) -> _Drawn:
    values = coordinates.sample(_SAMPLE, np.random.default_rng(1))
    mean, deviation = frontier.model.predict(coordinates.encode(values))
    at = {
        a.name: np.array(
            [a.position(v[a.name]) if a.name in v else math.nan for v in values]
        )
        for a in coordinates.axes
    }
    return _Drawn(at, normal_cdf(mean / np.sqrt(1 + deviation**2)))


# --- Boxes ------------------------------------------------------------------------


def _largest(drawn: _Drawn, axes: Sequence[Axis], within: Bools) -> _Box:
    """Returns the box that keeps most; it holds less than `_RISK`, or next to nothing."""
    levelled = next((a for a in axes if not a.numeric), None)
    if levelled is None or len(levelled.values) > _MAX_LEVELS:
        return _peeled(drawn, axes, within, {})
    rest = [a for a in axes if a is not levelled]
    every = range(len(levelled.values))
    boxes = []
    for count in range(1, len(levelled.values) + 1):
        for kept in combinations(every, count):
            at = drawn.at[levelled.name]
            mask = within & (np.isnan(at) | np.isin(at, kept))
            levels = {levelled.name: frozenset(kept)} if count < len(every) else {}
            boxes.append(_peeled(drawn, rest, mask, levels))
    return max(boxes, key=lambda b: (b.size, -len(b.levels)))


def _peeled(
    drawn: _Drawn,
    axes: Sequence[Axis],
    within: Bools,
    levels: dict[str, frozenset[int]],
) -> _Box:
    """Returns what is left once the parts that die were taken off, the worst first."""
    inside = within.copy()
    bounds = {a.name: (-a.units / 2, a.units / 2) for a in axes if a.numeric}
    ends = dict(bounds)
    levels = dict(levels)
    while inside.any() and drawn.risk[inside].mean() > _RISK:
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
    return _Box(inside, kept, levels)


def _cuts(
    drawn: _Drawn,
    axis: Axis,
    inside: Bools,
    bounds: dict[str, tuple[float, float]],
    levels: dict[str, frozenset[int]],
) -> list[tuple[Bools, Callable[[], None]]]:
    """Returns what can be taken off along an axis, and what notes that."""
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
    # What is left ends at a value that is there, so that ties go together.
    lowest, highest = np.quantile(values, [_PEEL, 1 - _PEEL])
    first = known[min(int(np.searchsorted(known, lowest)), len(known) - 2)]
    last = known[max(int(np.searchsorted(known, highest)) - 1, 0)]
    above = known[known > first][0]
    return [
        (inside & (at <= first), lambda: bounds.update({axis.name: (above, high)})),
        (inside & (at > last), lambda: bounds.update({axis.name: (low, last)})),
    ]


def _without(
    axis: Axis,
    level: float,
    known: Floats,
    gone: Bools,
    levels: dict[str, frozenset[int]],
) -> tuple[Bools, Callable[[], None]]:
    rest = frozenset(int(k) for k in known if k != level)
    return gone, lambda: levels.update({axis.name: rest})


def _restricted(
    specs: Sequence[HParam], axes: Mapping[str, Axis], box: _Box
) -> tuple[HParam, ...]:
    found = []
    for spec in specs:
        axis = axes.get(spec.name)
        if axis is not None and spec.name in box.levels:
            kept = [axis.values[i] for i in sorted(box.levels[spec.name])]
            spec = _with_values(spec, kept)
        elif axis is not None and spec.name in box.bounds:
            spec = _within(spec, axis, *box.bounds[spec.name])
        found.append(spec)
    return tuple(found)


def _with_values(spec: HParam, kept: Sequence[JSONScalar]) -> HParam:
    listed = (False, True) if spec.type == "boolean" else spec.values or ()
    values = [v for v in listed if any(type(v) is type(k) and v == k for k in kept)]
    if not values:
        return spec
    default = spec.default if spec.default in values else values[0]
    if spec.type == "boolean":
        if len(values) == 2:
            return spec
        return replace(spec, type="fixed", value=values[0], default=values[0])
    return replace(spec, values=values, default=default)


def _within(spec: HParam, axis: Axis, low: float, high: float) -> HParam:
    """Returns a declaration of the values between two positions."""
    half = axis.units / 2
    if axis.scale == "rank":
        kept = [v for v in axis.values if low - 1e-6 <= axis.position(v) <= high + 1e-6]
        return _with_values(spec, kept)
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
    return _short(value, rounded)


def _short(value: float, rounded: Callable[[float], int], digits: int = 2) -> float:
    """Returns a number of few digits beside `value`."""
    if value == 0 or not math.isfinite(value):
        return value
    exponent = math.floor(math.log10(abs(value))) - digits + 1
    scaled = value / 10.0**exponent
    return float(f"{rounded(round(scaled, 6))}e{exponent}")


# --- A box for each level -----------------------------------------------------------


def _scopes(
    coordinates: Coordinates, drawn: _Drawn, axes: Sequence[Axis]
) -> tuple[str, int, str]:
    """Returns the form, the points that it keeps and its code; 0 where it has no use."""
    best: tuple[str, int, str] = ("scopes", 0, "")
    for parent in axes:
        if (
            parent.scale not in ("", "rank")
            or len(parent.values) > 2 * _MAX_LEVELS
            or len(parent.specs) != 1
            or parent.specs[0].conditions
        ):
            continue
        rest = [a for a in axes if a is not parent]
        boxes: dict[JSONScalar, _Box] = {}
        for value in parent.values:
            mask = drawn.at[parent.name] == parent.position(value)
            box = _peeled(drawn, rest, mask, {})
            if box.size >= _LEAST * mask.sum():
                boxes[value] = box
        size = sum(b.size for b in boxes.values())
        if size > best[1]:
            best = ("scopes", size, _scoped_code(coordinates, parent, boxes))
    return best


def _scoped_code(
    coordinates: Coordinates, parent: Axis, boxes: Mapping[JSONScalar, _Box]
) -> str:
    axes = {a.name: a for a in coordinates.axes}
    own = [s for s in coordinates.specs if s.name == parent.name]
    first = [_with_values(s, list(boxes)) for s in own]
    specs: list[HParam] = []
    picks: dict[str, list[str]] = {}
    for spec in coordinates.specs:
        if spec.name == parent.name:
            continue
        if not any(spec.name in {*b.bounds, *b.levels} for b in boxes.values()):
            specs.append(spec)
            continue
        # A scope of its own name for each: KerasTuner drops values of a name in two.
        for value, box in boxes.items():
            (cut,) = _restricted([spec], axes, box)
            name = _new_name(spec.name, value, {s.name for s in coordinates.specs})
            around = [Condition(parent.name, [value]), *spec.conditions]
            specs.append(replace(cut, name=name, conditions=around))
            picks.setdefault(spec.name, []).append(name)
    lines = [_code([*first, *specs])]
    for name, parts in picks.items():
        options = ", ".join(_variable(p) for p in parts)
        lines.append(
            f"{_variable(name)} = next((v for v in ({options}) if v is not None), None)"
        )
    return "\n".join(lines)


# --- A bound that depends on another number ------------------------------------------


def _dependent(
    coordinates: Coordinates,
    frontier: Frontier,
    drawn: _Drawn,
    axes: Sequence[Axis],
) -> tuple[str, int, str]:
    """Returns the form, the points that it keeps and its code; 0 where it has no use."""
    nothing = ("dependent", 0, "")
    main = frontier.main
    if main is None or not _is_plain(main):
        return nothing
    best = nothing
    for other in frontier.movers:
        if not _is_plain(other):
            continue
        slope = round(_slope(coordinates, frontier, main, other), 2)
        if not slope:
            continue
        across = drawn.at[main.name] - slope * drawn.at[other.name]
        span = float(np.ptp(across)) or 1.0
        middle = float(across.min() + span / 2)
        turned = replace(main, name=f"{main.name} turned", units=span)
        at = drawn.at | {turned.name: across - middle}
        box = _largest(
            _Drawn(at, drawn.risk),
            [turned, *(a for a in axes if a is not main)],
            np.ones(_SAMPLE, np.bool_),
        )
        bounds = box.bounds.pop(turned.name, None)
        if bounds is None or box.size <= best[1]:
            continue
        low, high = bounds
        if low > -span / 2 and high < span / 2:
            continue  # between two lines: no bound would say it
        above = high < span / 2
        edge = (high if above else low) + middle
        code = _dependent_code(coordinates, main, other, slope, edge, above, box)
        best = ("dependent", box.size, code)
    return best


def _is_plain(axis: Axis) -> bool:
    """Returns whether an axis is a continuous number that is always active."""
    spec = axis.specs[0]
    return (
        axis.scale in ("log", "linear")
        and len(axis.specs) == 1
        and not spec.conditions
        and (spec.type == "float" and spec.step is None)
    )


def _slope(
    coordinates: Coordinates, frontier: Frontier, main: Axis, other: Axis
) -> float:
    """Returns by how many units the frontier moves along `main` for one along `other`."""
    rng = np.random.default_rng(2)
    rows = coordinates.sample(400, rng)
    mean, _ = frontier.model.predict(coordinates.encode(rows))
    rows = [rows[i] for i in np.argsort(np.abs(mean), kind="stable")[:40]]

    def moved(axis: Axis) -> Floats:
        # As a secant over a quarter of the range to both sides: bends do not matter.
        means = []
        for side in (-0.25, 0.25):
            there: list[Values] = []
            for row in rows:
                at = axis.position(row[axis.name]) + side * axis.units
                there.append(row | {axis.name: axis.value(at)})
            encoded = coordinates.encode(there)
            means.append((frontier.model.predict(encoded)[0], encoded))
        d = [a.name for a in coordinates.numeric].index(axis.name)
        distance = means[1][1].numbers[:, d] - means[0][1].numbers[:, d]
        return np.asarray((means[1][0] - means[0][0]) / np.maximum(distance, 1e-9))

    along = float(np.median(moved(main)))
    return -float(np.median(moved(other))) / along if along else 0.0


def _dependent_code(
    coordinates: Coordinates,
    main: Axis,
    other: Axis,
    slope: float,
    edge: float,
    above: bool,
    box: _Box,
) -> str:
    """Returns code in which `main` is drawn between a bound and one that `other` sets."""
    axes = {a.name: a for a in coordinates.axes}
    specs = list(_restricted(coordinates.specs, axes, box))
    (spec,) = main.specs
    share = _new_name(spec.name, "share", {s.name for s in specs})
    drawn = HParam(share, type="float", min=0.0, max=1.0, sampling="linear", default=0.0)
    # What a bound depends on stands before it.
    rest = [s for s in specs if s.name != main.name]
    variable, bound = _variable(main.name), "highest" if above else "lowest"
    formula = _formula(main, other, slope, edge, above)
    low, high = number_text(main.low), number_text(main.high)
    clipped = f"min({high}, max({low}, {formula}))"
    first, last = (low, bound) if above else (bound, high)
    where = f"{_variable(share)}"
    if main.scale == "log":
        value = f"{first} * ({last} / {first}) ** {where}"
    else:
        value = f"{first} + ({last} - {first}) * {where}"
    return "\n".join(
        [_code(rest), f"{bound} = {clipped}", _code([drawn]), f"{variable} = {value}"]
    )


def _formula(main: Axis, other: Axis, slope: float, edge: float, above: bool) -> str:
    """Returns the bound on `main` in terms of the variable of `other`."""
    x = _variable(other.name)
    per_main = _reach(main) / main.units  # decades, or values, a unit
    per_other = _reach(other) / other.units
    b = slope * per_main / per_other
    # Position 0 is the middle of an axis.
    centre_main = _raw(main, main.low) + _reach(main) / 2
    centre_other = _raw(other, other.low) + _reach(other) / 2
    a = centre_main + edge * per_main - b * centre_other
    rounded = math.floor if above else math.ceil
    power = number_text(float(f"{b:.3g}"))
    # The factor makes good for the exponent's last digits, at the worse end.
    ends = [_raw(other, other.low), _raw(other, other.high)]
    errors = [(b - float(power)) * e for e in ends]
    a += min(errors) if above else max(errors)
    if main.scale == "log":
        factor = number_text(_short(10.0**a, rounded))
        if other.scale == "log":
            return f"{factor} * {x} ** {power}"
        return f"{factor} * 10.0 ** ({power} * {x})"
    start = number_text(_short(a, rounded, 3))
    if other.scale == "log":
        return f"{start} + {power} * math.log10({x})"
    return f"{start} + {power} * {x}"


def _raw(axis: Axis, value: float) -> float:
    return math.log10(value) if axis.scale == "log" else value


def _reach(axis: Axis) -> float:
    return _raw(axis, axis.high) - _raw(axis, axis.low)


# --- Code ---------------------------------------------------------------------------


def _code(specs: Sequence[HParam]) -> str:
    """Returns declarations, each assigned to a variable; they run where `hp` is."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for spec in specs:
        call = _call(spec)
        if call is None:
            continue
        seen[spec.name] = seen.get(spec.name, 0) + 1
        variable = own = _variable(spec.name)
        if seen[spec.name] > 1:
            own = f"{variable}_{seen[spec.name]}"
        for depth, condition in enumerate(spec.conditions):
            values = ", ".join(_literal(v) for v in condition.values)
            name = _literal(condition.name)
            lines.append(
                f"{_INDENT * depth}with hp.conditional_scope({name}, [{values}]):"
            )
        lines.append(f"{_INDENT * len(spec.conditions)}{own} = {call}")
        if own != variable:  # what is inactive is None
            lines.append(f"{variable} = {own} if {variable} is None else {variable}")
    return "\n".join(lines)


def _call(spec: HParam) -> str | None:
    if spec.type == "fixed":
        value = spec.value if spec.value is not None else spec.default
        return f"hp.Fixed({_literal(spec.name)}, {_literal(value)})"
    return declaration(spec)


def _literal(value: JSONScalar) -> str:
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, str) and value.isprintable() and '"' not in value:
        return f'"{value}"' if "\\" not in value else repr(value)
    return repr(value)


def _new_name(name: str, value: JSONScalar, taken: set[str]) -> str:
    ending = re.sub(r"\W+", "_", str(value), flags=re.ASCII).strip("_").lower() or "2"
    wanted = f"{name}_{ending}"
    while wanted in taken:
        wanted += "_2"
    return wanted


def _variable(name: str) -> str:
    variable = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "value"
    if variable[0].isdigit() or keyword.iskeyword(variable) or variable in ("hp", "math"):
        variable = f"value_{variable}"
    return variable
