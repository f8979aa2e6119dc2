"""JSON as every program reads it: non-finite numbers are strings.

Python's own `json` writes `NaN`, which no browser parses. Here they are "NaN",
"Infinity" and "-Infinity".
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Final

import numpy as np

NONFINITE: Final[dict[str, float]] = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


def json_safe(value: Any) -> Any:
    """Returns `value` with non-finite floats as the strings that JSON records use.

    Args:
        value: any nesting of dicts, lists, tuples, dataclasses, NumPy scalars and
            JSON scalars. Anything else becomes its `str`.
    """
    if value is None or isinstance(value, bool | int | str):
        if isinstance(value, str):  # lone surrogates cannot be encoded as UTF-8
            return value.encode("utf-8", "replace").decode("utf-8")
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, np.generic):
        return json_safe(value.item())
    if isinstance(value, np.ndarray):
        return json_safe(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: json_safe(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(json_safe(str(k))): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_safe(v) for v in value]
    return json_safe(str(value))


def dumps(value: Any) -> str:
    """Returns strict JSON of `json_safe(value)`, compact, in one line."""
    return json.dumps(
        json_safe(value), separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
