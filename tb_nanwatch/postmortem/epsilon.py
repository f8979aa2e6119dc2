# SPDX-License-Identifier: Apache-2.0
"""Keeps a division's denominator, or a root's or logarithm's argument, away from 0."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Final

import keras

from tb_nanwatch.postmortem.source import shown
from tb_nanwatch.record.schema import Source

# Returns the replacement of an argument, for a call from a frame.
Alter = Callable[[Any, FrameType | None], Any]
# Has each call that makes an operation of a type take what the second returns in the place
# of the argument that is to be kept away from 0.
Calls = Callable[[str, Alter], AbstractContextManager[None]]

# By the type the argument to be kept away.
POSITIONS: Final[dict[str, int]] = {
    "RealDiv": 1,
    "Log": 0,
    "Sqrt": 0,
    "Rsqrt": 0,
    "Reciprocal": 0,
    "Xlogy": 1,
    "Xdivy": 1,
}
# These may be of either sign; the others must be positive.
_DENOMINATORS: Final = ("RealDiv", "Reciprocal", "Xdivy")
_OF_TENSORFLOW: Final = {
    "RealDiv": "real_div",
    "Log": "log",
    "Sqrt": "sqrt",
    "Rsqrt": "rsqrt",
    "Reciprocal": "reciprocal",
    "Xlogy": "xlogy",
    "Xdivy": "xdivy",
}


def applies(op_type: str | None) -> bool:
    """Returns whether an epsilon can be put into operations of the type."""
    return op_type in POSITIONS


@contextlib.contextmanager
def added(op_type: str, source: Source | None, calls: Calls) -> Iterator[list[int]]:
    """Adds Keras' epsilon to the operations of one type, at one line where given.

    Args:
        op_type: of the operations; one that `applies`.
        source: the line.
        calls: of the backend.

    Yields:
        A list with one entry for each operation that was changed so far.
    """
    changed: list[int] = []

    def alter(value: Any, frame: FrameType | None) -> Any:
        if not _is_at(source, frame):
            return value
        changed.append(1)
        return _kept_away(value, op_type)

    with calls(op_type, alter):
        yield changed


@contextlib.contextmanager
def altered(
    functions: Sequence[tuple[Any, str, int]],
    alter: Alter,
) -> Iterator[None]:
    """Replaces functions by wrappers that pass one argument through `alter`, until the block ends.

    Args:
        functions: what holds each, its name there, and which of its arguments is given to
            `alter`; functions that do not exist are left out.
        alter: returns what the function gets in its place.
    """
    there = [f for f in functions if callable(getattr(f[0], f[1], None))]
    originals = [getattr(place, name) for place, name, _ in there]
    # Where one function calls another, only the outer call's argument is altered.
    inside: list[int] = []

    def wrap(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def with_other(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= position or inside:
                return original(*args, **kwargs)
            inside.append(1)
            try:
                other = alter(args[position], sys._getframe(1))
                return original(*args[:position], other, *args[position + 1 :], **kwargs)
            finally:
                inside.pop()

        return with_other

    try:
        for (place, name, position), original in zip(there, originals, strict=True):
            setattr(place, name, wrap(original, position))
        yield
    finally:
        for (place, name, _), original in zip(there, originals, strict=True):
            setattr(place, name, original)


def of_tensorflow(op_type: str, alter: Alter) -> AbstractContextManager[None]:
    """TensorFlow's `Calls`; TensorFlow is imported only when this is called."""
    import tensorflow as tf

    from tb_nanwatch.compat.tensorflow import math_modules

    places = (*math_modules(), tf.math, tf)
    name, position = _OF_TENSORFLOW[op_type], POSITIONS[op_type]
    return altered([(place, name, position) for place in places], alter)


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
    ops = keras.ops
    tensor = ops.convert_to_tensor(value)
    epsilon = ops.cast(keras.config.epsilon(), tensor.dtype)
    if op_type in _DENOMINATORS:
        return ops.where(ops.abs(tensor) < epsilon, epsilon, tensor)
    return ops.maximum(tensor, epsilon)
