# SPDX-License-Identifier: Apache-2.0
"""A box in which the bound of one number depends on another number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tb_nanwatch.declaring.declaration import new_name, number_text, variable_of
from tb_nanwatch.record.schema import HParam
from tb_nanwatch.stability.boxes import (
    SAMPLE,
    Box,
    Drawn,
    code_of,
    largest_box,
    restricted,
    short_number,
)
from tb_nanwatch.stability.coordinates import Coordinates, Floats, SpaceAxis, Values
from tb_nanwatch.stability.frontier import KnownFrontier


def moving_bound(
    coordinates: Coordinates,
    frontier: KnownFrontier,
    drawn: Drawn,
    axes: Sequence[SpaceAxis],
) -> tuple[str, int, str]:
    """Returns the form, the number of points it keeps and its code; 0 points where it is useless."""
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
        box = largest_box(
            Drawn(at, drawn.risk),
            [turned, *(a for a in axes if a is not main)],
            np.ones(SAMPLE, np.bool_),
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


def _is_plain(axis: SpaceAxis) -> bool:
    """Returns whether an axis is a continuous number that is always active."""
    spec = axis.specs[0]
    return (
        axis.scale in ("log", "linear")
        and len(axis.specs) == 1
        and not spec.conditions
        and (spec.type == "float" and spec.step is None)
    )


def _slope(
    coordinates: Coordinates, frontier: KnownFrontier, main: SpaceAxis, other: SpaceAxis
) -> float:
    """Returns by how many units the frontier moves along `main` for one along `other`."""
    rng = np.random.default_rng(2)
    rows = coordinates.sample(400, rng)
    mean, _ = frontier.model.predict(coordinates.encode(rows))
    rows = [rows[i] for i in np.argsort(np.abs(mean), kind="stable")[:40]]

    def moved(axis: SpaceAxis) -> Floats:
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
    main: SpaceAxis,
    other: SpaceAxis,
    slope: float,
    edge: float,
    above: bool,
    box: Box,
) -> str:
    """Returns code in which `main` is drawn between a bound and one that `other` sets."""
    axes = {a.name: a for a in coordinates.axes}
    specs = list(restricted(coordinates.specs, axes, box))
    (spec,) = main.specs
    share = new_name(spec.name, ["share"], {s.name for s in specs})
    drawn = HParam(share, type="float", min=0.0, max=1.0, sampling="linear", default=0.0)
    # What a bound depends on stands before it.
    rest = [s for s in specs if s.name != main.name]
    variable, bound = variable_of(main.name), "highest" if above else "lowest"
    formula = _formula(main, other, slope, edge, above)
    low, high = number_text(main.low), number_text(main.high)
    clipped = f"min({high}, max({low}, {formula}))"
    first, last = (low, bound) if above else (bound, high)
    where = f"{variable_of(share)}"
    if main.scale == "log":
        value = f"{first} * ({last} / {first}) ** {where}"
    else:
        value = f"{first} + ({last} - {first}) * {where}"
    return "\n".join(
        [code_of(rest), f"{bound} = {clipped}", code_of([drawn]), f"{variable} = {value}"]
    )


def _formula(
    main: SpaceAxis, other: SpaceAxis, slope: float, edge: float, above: bool
) -> str:
    """Returns the bound on `main` in terms of the variable of `other`."""
    x = variable_of(other.name)
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
        factor = number_text(short_number(10.0**a, rounded))
        if other.scale == "log":
            return f"{factor} * {x} ** {power}"
        return f"{factor} * 10.0 ** ({power} * {x})"
    start = number_text(short_number(a, rounded, 3))
    if other.scale == "log":
        return f"{start} + {power} * math.log10({x})"
    return f"{start} + {power} * {x}"


def _raw(axis: SpaceAxis, value: float) -> float:
    return math.log10(value) if axis.scale == "log" else value


def _reach(axis: SpaceAxis) -> float:
    return _raw(axis, axis.high) - _raw(axis, axis.low)
