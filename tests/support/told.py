"""Converts an overview to JSON and back, so that tests can read and alter it."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any

from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.record.strict_json import NONFINITE, json_safe


def as_json(told: Any) -> dict[str, Any]:
    """Returns an answer of the contract as JSON values."""
    found: dict[str, Any] = json_safe(told)
    return found


def as_overview(found: dict[str, Any]) -> Overview:
    """Returns the overview for its JSON values."""
    made: Overview = _made(Overview, found)
    return made


def _made(hint: Any, value: Any) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [o for o in options if o is not type(None)]
        return value if value is None or len(kinds) > 1 else _made(kinds[0], value)
    if origin is list:
        return [_made(options[0], v) for v in value]
    if origin is tuple:
        return tuple(_made(o, v) for o, v in zip(options, value, strict=True))
    if origin is dict:
        return {k: _made(options[1], v) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        hints = _hints(hint)
        known = {k: _made(hints[k], v) for k, v in value.items() if k in hints}
        return typing.cast(Any, hint)(**known)
    if hint is float and isinstance(value, str):
        return NONFINITE[value]
    return value


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)
