# SPDX-License-Identifier: Apache-2.0
"""JSON as every program reads it: non-finite numbers are strings.

Python's own `json` writes `NaN`, which no browser parses. Here they are "NaN",
"Infinity" and "-Infinity".
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import Any, Final, TypeAlias

import numpy as np

# An object as `json` gives it.
JSONObject: TypeAlias = dict[str, Any]

NONFINITE: Final[dict[str, float]] = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


class LeftOut(float):
    """A number that is withheld: NaN in calculations, null in JSON."""


def json_safe(value: Any) -> Any:
    """Returns `value` with non-finite floats as the strings that JSON records use.

    Args:
        value: any nesting of dicts, lists, tuples, dataclasses, NumPy scalars and
            JSON scalars. Anything else becomes its `text_of`.
    """
    kind = type(value)  # by what most values are: an overview holds 100,000 of them
    if kind is str:
        return _text(value)
    if kind is float:
        return value if math.isfinite(value) else _word(value)
    if value is None or kind is int or kind is bool:
        return value
    if isinstance(value, dict):
        return {_text(text_of(k)): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_safe(v) for v in value]
    return _other(value)


def _text(value: str) -> str:
    # Lone surrogates cannot be encoded as UTF-8.
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _other(value: Any) -> Any:
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, LeftOut):
        return None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _word(value)
    if isinstance(value, np.generic):
        return json_safe(value.item())
    if isinstance(value, np.ndarray):
        return json_safe(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: json_safe(getattr(value, name)) for name in _names(type(value))}
    return _text(text_of(value))


@functools.cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    """Returns the names of a dataclass' fields."""
    return tuple(field.name for field in dataclasses.fields(cls))


def text_of(value: Any) -> str:
    """Returns `str(value)`, or its type's name where that raises."""
    try:
        return str(value)
    except Exception:  # an object's own, or an integer of more digits than Python prints
        return f"<{type(value).__qualname__}>"


def dumps(value: Any) -> str:
    """Returns strict JSON of `json_safe(value)`, compact, in one line."""
    return json.dumps(
        json_safe(value), separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
