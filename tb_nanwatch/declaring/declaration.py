# SPDX-License-Identifier: Apache-2.0
"""How a hyperparameter is declared: the code of `hp.Float(...)` and the like, whole or cut.

Names and values come from logs, so each one is written as a literal, and any other value is
not written at all.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from tb_nanwatch.declaring.cut import Cut, same
from tb_nanwatch.record.schema import Condition as Parent
from tb_nanwatch.record.schema import Declaration, HParam, JSONScalar


def hp_of(spec: HParam) -> str:
    """Returns the program's variable for the `HyperParameters` of a declaration."""
    return spec.declared.hp if spec.declared is not None else "hp"


def listed(spec: HParam) -> list[JSONScalar] | None:
    """Returns all values of a hyperparameter, None where they cannot be listed."""
    if spec.type == "boolean":
        return [False, True]
    if spec.type == "choice" and spec.values:
        return list(spec.values)
    if spec.type == "int" and isinstance(spec.min, int) and isinstance(spec.max, int):
        grid = _grid(spec)
        return list(grid) if grid is not None and len(grid) <= _MAX_LISTED else None
    return None


_INDENT: Final = "    "
# More values than this in a scope's list are no code that anyone would paste.
_MAX_LISTED: Final = 12


def variable_of(name: str) -> str:
    """Returns a valid Python name for the variable that holds a hyperparameter's value."""
    variable = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "value"
    if variable[0].isdigit() or keyword.iskeyword(variable) or variable in ("hp", "math"):
        variable = f"value_{variable}"
    return variable


def declaration(spec: HParam, hp: str = "hp") -> str | None:
    """Returns `hp.Float(...)` and the like; None for a value that no search space declares.

    Args:
        spec: what is declared.
        hp: what the program calls its `HyperParameters`.
    """
    if spec.type == "fixed":
        value = spec.value if spec.value is not None else spec.default
        return f"{hp}.Fixed({literal(spec.name)}, {literal(value)})"
    return call_of(replace(spec, declared=Declaration(hp=hp)), None)


def narrowed(spec: HParam, cut: Cut) -> str | None:
    """Returns the declaration with a part cut away; None where nothing would be left."""
    return call_of(replace(spec, declared=None), cut)


def call_of(spec: HParam, cut: Cut | None) -> str | None:
    """Returns `hp.Float(...)` and the like; None where nothing would be left."""
    if spec.type == "float":
        return _float_call(spec, cut)
    if spec.type == "int":
        return _int_call(spec, cut)
    if spec.type == "choice":
        return _choice_call(spec, cut)
    if spec.type == "boolean":
        left = [v for v in (False, True) if cut is None or not cut.takes(v)]
        if len(left) == 2:
            default = ", default=True" if spec.default is True else ""
            return f"{hp_of(spec)}.Boolean({literal(spec.name)}{default})"
        return (
            f"{hp_of(spec)}.Fixed({literal(spec.name)}, {literal(left[0])})"
            if left
            else None
        )
    return None


def _number(value: JSONScalar) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _float_call(spec: HParam, cut: Cut | None) -> str | None:
    low, high = _number(spec.min), _number(spec.max)
    if low is None or high is None:
        return None
    if cut is not None:
        grid = _grid(spec)
        if grid is not None:
            left = [v for v in grid if not cut.takes(v)]
            if not left:
                return None
            low, high = float(left[0]), float(left[-1])
        elif cut.op == "ge":
            high = min(high, cut.bound)
        else:
            low = max(low, cut.bound)
    if low > high:
        return None
    if low == high:
        return f"{hp_of(spec)}.Fixed({literal(spec.name)}, {literal(low)})"
    return _numeric(spec, "Float", low, high, spec.step)


def _int_call(spec: HParam, cut: Cut | None) -> str | None:
    if not isinstance(spec.min, int) or not isinstance(spec.max, int):
        return None
    low, high = spec.min, spec.max
    grid = _grid(spec)
    if cut is not None and grid is not None:
        left = [v for v in grid if not cut.takes(v)]
        if not left:
            return None
        low, high = int(left[0]), int(left[-1])
    elif cut is not None and cut.op == "ge":
        high = min(high, math.floor(cut.bound))
    elif cut is not None:
        low = max(low, math.ceil(cut.bound))
    if low > high:
        return None
    if low == high:
        return f"{hp_of(spec)}.Fixed({literal(spec.name)}, {low})"
    step = None if spec.step == 1 and spec.sampling in (None, "linear") else spec.step
    return _numeric(spec, "Int", low, high, step)


def _numeric(spec: HParam, kind: str, low: float, high: float, step: JSONScalar) -> str:
    parts = [literal(spec.name), literal(low), literal(high)]
    if step is not None:
        parts.append(f"step={literal(step)}")
    if spec.sampling in ("log", "reverse_log"):
        parts.append(f'sampling="{spec.sampling}"')
    default = _number(spec.default)
    # The first value is the default anyway.
    if default is not None and default != spec.min and low <= default <= high:
        parts.append(f"default={literal(spec.default)}")
    return f"{hp_of(spec)}.{kind}({', '.join(parts)})"


# A grid with more points than this is cut like a continuous range.
_MAX_GRID: Final = 100_000


def _grid(spec: HParam) -> list[float] | list[int] | None:
    """Returns the values that a step allows; None where there is no step."""
    low, high, step = _number(spec.min), _number(spec.max), _number(spec.step)
    if low is None or high is None or spec.sampling == "reverse_log":
        return None
    if step is None:
        if spec.type != "int" or spec.sampling == "log":
            return None
        step = 1.0
    if spec.sampling == "log":
        if step <= 1 or low <= 0:
            return None
        # As KerasTuner counts them.
        count = int(math.log(high / low, step) + 1e-8) + 1
    else:
        count = int((high - low) // step + 1) if step > 0 else 0
    if not 0 < count <= _MAX_GRID:
        return None
    if spec.sampling == "log":
        values = [low * math.pow(step, i) for i in range(count)]
    else:
        values = [low + i * step for i in range(count)]
    return [int(v) for v in values] if spec.type == "int" else values


def _choice_call(spec: HParam, cut: Cut | None) -> str | None:
    left = [v for v in spec.values or () if cut is None or not cut.takes(v)]
    if not left:
        return None
    parts = [literal(spec.name), f"[{', '.join(literal(v) for v in left)}]"]
    numeric = all(_number(v) is not None for v in left)
    if numeric and spec.ordered is False:
        parts.append("ordered=False")
    first = (spec.values or [None])[0]
    if not same(spec.default, first) and any(same(spec.default, v) for v in left):
        parts.append(f"default={literal(spec.default)}")
    return f"{hp_of(spec)}.Choice({', '.join(parts)})"


def literal(value: JSONScalar) -> str:
    """Returns Python source of a scalar; strings in double quotes, as people write."""
    if isinstance(value, str):
        # JSON's escapes are Python's, but for characters beyond the basic plane.
        return (
            json.dumps(value) if value.isprintable() and value.isascii() else ascii(value)
        )
    if isinstance(value, float):
        return number_text(value)
    return repr(value)


def number_text(value: float) -> str:
    """Returns a float that reads back as itself, written as people write it."""
    if value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e6:
        return repr(value)
    digits = next(d for d in range(18) if float(f"{value:.{d}e}") == value)
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def new_name(name: str, levels: Sequence[JSONScalar], taken: Collection[str]) -> str:
    """Returns "learning_rate_sgd", or with a number where it is taken."""
    suffix = re.sub(r"\W+", "_", str(levels[0]), flags=re.ASCII).strip("_").lower()
    wanted = f"{name}_{suffix}" if len(levels) == 1 and suffix else f"{name}_2"
    found, number = wanted, 2
    while found in taken:
        number += 1
        found = f"{wanted}_{number}"
    return found


def scoped(spec: HParam, parents: Sequence[Parent], statement: str) -> str:
    """Returns a statement within scopes.

    Args:
        spec: what it is about, for the name of the `HyperParameters`.
        parents: the scopes, outermost first.
        statement: one line.
    """
    lines = []
    for depth, parent in enumerate(parents):
        values = ", ".join(literal(v) for v in parent.values)
        lines.append(
            f"{_INDENT * depth}with {hp_of(spec)}.conditional_scope("
            f"{literal(parent.name)}, [{values}]):"
        )
    lines.append(_INDENT * len(parents) + statement)
    return "\n".join(lines)
