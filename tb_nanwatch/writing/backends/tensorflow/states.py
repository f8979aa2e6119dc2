# SPDX-License-Identifier: Apache-2.0
"""The values of variables at one moment, held by reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class Held:
    """The values of variables.

    TensorFlow copies a value that is held only if it is changed.

    Args:
        variables: Keras variables. What a step made while it was traced may have no value
            before the step runs; it is left out.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        with tf.init_scope():
            self._values = [
                (v.value, v.value.read_value()) for v in variables if has_value(v)
            ]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(nbytes_of(variable) for variable, _ in self._values)

    def restore(self) -> None:
        """Sets the variables to the values that are held."""
        for variable, value in self._values:
            variable.assign(value)


def has_value(variable: Any) -> bool:
    """Returns whether a variable has a value yet."""
    with tf.init_scope():
        handle = getattr(variable.value, "handle", None)
        return handle is None or bool(tf.raw_ops.VarIsInitializedOp(resource=handle))


def nbytes_of(variable: Any) -> int:
    """Returns the bytes of a variable of a known shape."""
    size: int = tf.as_dtype(variable.dtype).size
    return int(np.prod(variable.shape)) * max(1, size)
