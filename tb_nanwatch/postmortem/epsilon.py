"""Keeps a division's denominator, or a root's or logarithm's argument, away from 0."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import keras
import tensorflow as tf

from tb_nanwatch.compat.tensorflow import math_modules
from tb_nanwatch.postmortem.source import shown
from tb_nanwatch.record.schema import Source

# The functions that make an operation of the type, and the argument to be kept away.
_FUNCTIONS: Final[dict[str, tuple[str, int]]] = {
    "RealDiv": ("real_div", 1),
    "Log": ("log", 0),
    "Sqrt": ("sqrt", 0),
    "Rsqrt": ("rsqrt", 0),
    "Reciprocal": ("reciprocal", 0),
    "Xlogy": ("xlogy", 1),
    "Xdivy": ("xdivy", 1),
}
# These may be of either sign; the others must be positive.
_DENOMINATORS: Final = ("RealDiv", "Reciprocal", "Xdivy")


def applies(op_type: str | None) -> bool:
    """Returns whether an epsilon can be put into operations of the type."""
    return op_type in _FUNCTIONS


@contextlib.contextmanager
def added(op_type: str, source: Source | None) -> Iterator[list[int]]:
    """Adds Keras' epsilon to the operations of one type, at one line where given.

    Yields:
        A list with one entry for each operation that was changed so far.
    """
    name, position = _FUNCTIONS[op_type]
    changed: list[int] = []
    places = [
        place
        for place in (*math_modules(), tf.math, tf)
        if callable(getattr(place, name, None))
    ]
    originals = [getattr(place, name) for place in places]

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def with_epsilon(*args: Any, **kwargs: Any) -> Any:
            if len(args) > position and _is_at(source, sys._getframe(1)):
                kept = _kept_away(args[position], op_type)
                args = (*args[:position], kept, *args[position + 1 :])
                changed.append(1)
            return original(*args, **kwargs)

        return with_epsilon

    try:
        for place, original in zip(places, originals, strict=True):
            setattr(place, name, wrap(original))
        yield changed
    finally:
        for place, original in zip(places, originals, strict=True):
            setattr(place, name, original)


def _is_at(source: Source | None, frame: FrameType | None) -> bool:
    if source is None:
        return True
    while frame is not None:
        if (
            frame.f_lineno == source.line
            and shown(frame.f_code.co_filename) == source.file
        ):
            return True
        frame = frame.f_back
    return False


def _kept_away(value: Any, op_type: str) -> Any:
    tensor = tf.convert_to_tensor(value)
    epsilon = tf.cast(keras.config.epsilon(), tensor.dtype)
    if op_type in _DENOMINATORS:
        return tf.where(tf.abs(tensor) < epsilon, epsilon, tensor)
    return tf.maximum(tensor, epsilon)
