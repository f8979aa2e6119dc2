# SPDX-License-Identifier: Apache-2.0
"""Converts hyperparameters of any type into plain values that every reader of a log accepts.

A hyperparameter may be anything: one that no record can hold must cost neither the
record nor the watching.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from tb_nanwatch.record.schema import HParam, HParamType, JSONScalar
from tb_nanwatch.record.strict_json import text_of

# A value is read in a row of a table, and each status holds all of them again.
_MAX_TEXT: Final = 1_000
# More than these are no hyperparameters, but something that was passed with them.
MAX_HPARAMS: Final = 1_000
# Limits of an optimizer's nested configuration: its depth, and its entries.
_MAX_DEPTH: Final = 16
_MAX_ITEMS: Final = 1_000
# Integers beyond are not held by what reads the records.
_MAX_INT: Final = 1 << 63


def scalar(value: Any) -> JSONScalar:
    """Returns a value as a JSON scalar: numbers as they are, anything else as text.

    An integer that no float holds is text, too.
    """
    try:
        return _scalar(value)
    except Exception:  # whatever a foreign type raises
        return _text(text_of(value))


def _scalar(value: Any) -> JSONScalar:
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():  # of NumPy and the like
        value = item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        float(value)  # raises where it is too large
        return int(value)
    if isinstance(value, float):
        return float(value)
    # The text itself of a subclass, whose own words may be others (an enum's name).
    return _text(str.__str__(value) if isinstance(value, str) else text_of(value))


def _text(text: str) -> str:
    # Lone surrogates, as of a file's name that is not UTF-8, cannot be encoded.
    kept = text[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")
    return kept if len(text) <= _MAX_TEXT else f"{kept}… ({len(text):,} characters)"


def name(key: Any) -> str:
    """Returns a hyperparameter's name, of whatever type the key of its value is."""
    return _text(str.__str__(key) if isinstance(key, str) else text_of(key))


def small_int(value: Any) -> int | None:
    """Returns a value as an integer of 64 bits; None where it is not one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return int(value) if -_MAX_INT <= value < _MAX_INT else None


def plain_type(value: JSONScalar) -> HParamType:
    """Returns the type of a `scalar` that came without a search space."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def plain_hparams(values: Mapping[Any, Any]) -> list[HParam]:
    """Returns hyperparameters for a plain mapping of names to values.

    The first `MAX_HPARAMS` of them; of two whose names are the same text, the first.
    """
    found: dict[str, HParam] = {}
    for key, value in itertools.islice(values.items(), MAX_HPARAMS):
        named, plain = name(key), scalar(value)
        found.setdefault(named, HParam(named, plain, plain_type(plain)))
    return list(found.values())


def plain(value: Any) -> Any:
    """Returns a configuration as nested dicts and lists of scalars.

    What is nested in itself, or too large, ends in an ellipsis.
    """
    return _plain(value, 0, itertools.count())


def _plain(value: Any, depth: int, seen: Iterator[int]) -> Any:
    if next(seen) >= _MAX_ITEMS:
        return "…"
    if isinstance(value, np.ndarray) and value.ndim > 0 and value.size <= _MAX_ITEMS:
        value = value.tolist()
    if depth < _MAX_DEPTH and isinstance(value, dict | list | tuple):
        if isinstance(value, dict):
            items = itertools.islice(value.items(), _MAX_ITEMS)
            return {name(k): _plain(v, depth + 1, seen) for k, v in items}
        parts = itertools.islice(value, _MAX_ITEMS)
        return [_plain(v, depth + 1, seen) for v in parts]
    return scalar(value)
