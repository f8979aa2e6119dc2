# SPDX-License-Identifier: Apache-2.0
"""A box for each level of a hyperparameter, as conditional scopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tb_nanwatch.declaring.declaration import new_name, variable_of
from tb_nanwatch.record.schema import Condition, HParam, JSONScalar
from tb_nanwatch.stability.boxes import (
    MAX_LEVELS,
    Box,
    Drawn,
    code_of,
    peeled,
    restricted,
    with_values,
)
from tb_nanwatch.stability.coordinates import Coordinates, SpaceAxis

# A level of which less than this lives is left out.
LEAST: Final = 0.05


def scoped_boxes(
    coordinates: Coordinates, drawn: Drawn, axes: Sequence[SpaceAxis]
) -> tuple[str, int, str]:
    """Returns the form, the number of points it keeps and its code; 0 points where it is useless."""
    best: tuple[str, int, str] = ("scopes", 0, "")
    for parent in axes:
        if (
            parent.scale not in ("", "rank")
            or len(parent.values) > 2 * MAX_LEVELS
            or len(parent.specs) != 1
            or parent.specs[0].conditions
        ):
            continue
        rest = [a for a in axes if a is not parent]
        boxes: dict[JSONScalar, Box] = {}
        for value in parent.values:
            mask = drawn.at[parent.name] == parent.position(value)
            box = peeled(drawn, rest, mask, {})
            if box.size >= LEAST * mask.sum():
                boxes[value] = box
        size = sum(b.size for b in boxes.values())
        if size > best[1]:
            best = ("scopes", size, _scoped_code(coordinates, parent, boxes))
    return best


def _scoped_code(
    coordinates: Coordinates, parent: SpaceAxis, boxes: Mapping[JSONScalar, Box]
) -> str:
    axes = {a.name: a for a in coordinates.axes}
    own = [s for s in coordinates.specs if s.name == parent.name]
    first = [with_values(s, list(boxes)) for s in own]
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
            (cut,) = restricted([spec], axes, box)
            name = new_name(spec.name, [value], {s.name for s in coordinates.specs})
            around = [Condition(parent.name, [value]), *spec.conditions]
            specs.append(replace(cut, name=name, conditions=around))
            picks.setdefault(spec.name, []).append(name)
    lines = [code_of([*first, *specs])]
    for name, parts in picks.items():
        options = ", ".join(variable_of(p) for p in parts)
        lines.append(
            f"{variable_of(name)} = next((v for v in ({options}) if v is not None), None)"
        )
    return "\n".join(lines)
