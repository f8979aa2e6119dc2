# SPDX-License-Identifier: Apache-2.0
"""TensorFlow operations that the probes are made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

# Columns into which a tensor is summed, at most and at least, and elements of it (of one
# example, where the batch has no fixed size) from which on it is.
_MOST_COLUMNS: Final = 512
_FEWEST_COLUMNS: Final = 16
_WORTH_COLUMNS: Final = 1024


def function_of(step: Callable[..., Any], *, xla: bool) -> Any:
    """Returns a step as a function that TensorFlow traces, and XLA compiles if `xla`.

    TensorFlow warns of code that is traced again and again; each model's step is traced
    anew, and no fault of the user's. It knows no code in a `partial`.
    """
    return tf.function(functools.partial(step), jit_compile=xla, autograph=False)


def variable_value(variable: Any) -> Any:
    """Returns the variable's value as a tensor, read where the call stands."""
    return tf.convert_to_tensor(variable.value)


def as_tensor(value: Any) -> Any:
    """Returns the tensor whose elements are the value's, None where it has none."""
    if isinstance(value, tf.IndexedSlices | tf.SparseTensor):
        return value.values
    if isinstance(value, tf.RaggedTensor):
        return value.flat_values
    if isinstance(value, keras.Variable):
        return variable_value(value)
    if isinstance(value, tf.Variable):
        return value.read_value()
    if isinstance(value, float | np.floating | np.ndarray):
        return tf.convert_to_tensor(value)
    return value if isinstance(value, tf.Tensor) else None


def can_be_bad(tensor: Any) -> bool:
    """Returns whether the tensor's dtype has non-finite values."""
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def has_zero(tensor: Any) -> bool:
    """Returns whether a constant of the graph has an element that is zero."""
    value = tf.get_static_value(tensor)
    return value is not None and not np.all(value)


def same_shape(a: Any, b: Any) -> bool:
    """Returns whether two tensors of the graph have the same static shape."""
    return a.shape.rank is not None and list(a.shape) == list(b.shape)


def half_sum_of_squares(tensor: Any) -> Any:
    """Returns half the sum of squares as a float32 scalar."""
    return tf.cast(tf.nn.l2_loss(_summable(tensor)), tf.float32)


def half_sum_in_columns(tensor: Any) -> Any:
    """Returns the same where XLA compiles it for a CPU: in a third of the time.

    There a sum over a whole tensor adds one element after another, and sums of columns go
    side by side. XLA would make one sum of both; a magnitude between them keeps them apart.
    """
    width = _columns(tensor)
    if not width or tf.config.list_logical_devices("GPU"):
        return half_sum_of_squares(tensor)
    columns = tf.reshape(_summable(tensor), [-1, width])
    halves = 0.5 * tf.reduce_sum(tf.abs(tf.reduce_sum(tf.square(columns), 0)))
    return tf.cast(halves, tf.float32)


def _summable(tensor: Any) -> Any:
    if tensor.dtype.is_complex:
        tensor = tf.abs(tensor)
    if tensor.dtype.size < 4:  # half precision would overflow at 256
        tensor = tf.cast(tensor, tf.float32)
    return tensor


def _columns(tensor: Any) -> int:
    """Returns into how many columns a tensor is summed; 0 where it is not worth it."""
    if tensor.shape.rank is None:
        return 0
    size = 1  # of the last dimensions, as far as they are known
    for dimension in reversed(list(tensor.shape)):
        if not dimension:
            break
        size *= dimension
    width = math.gcd(size, _MOST_COLUMNS)
    return width if size >= _WORTH_COLUMNS and width >= _FEWEST_COLUMNS else 0


def one_after(
    calm: Any,
    look: Callable[..., Any],
    inputs: list[Any],
    more: Callable[[Callable[[Any], Any]], list[Any]] = lambda within: [],
) -> Any:
    """Returns the int64 scalar 1, after `look(1, *inputs, *more)` unless `calm` is true.

    `tf.cond` would put a switch in front of every input, which costs a small model a
    twentieth of its step. On CPU one switch is enough: a node with one dead input does
    not run, whatever its other inputs. Where tensors would have to be copied from an
    accelerator before that is known, or without a graph, it is `tf.cond`.

    Args:
        calm: a boolean scalar.
        look: called with arrays; returns the int64 scalar 1.
        inputs: tensors that are there anyway.
        more: returns tensors that are made for the look alone. It is given a function
            that returns a tensor as it is to be used for that.
    """
    one = tf.constant(1, tf.int64)
    if tf.executing_eagerly():
        # Not as `numpy_function` makes arrays, which warns of bfloat16.
        return (
            one if calm else look(1, *(t.numpy() for t in [*inputs, *more(lambda t: t)]))
        )
    if tf.config.list_logical_devices("GPU"):
        return tf.cond(
            calm,
            lambda: one,
            lambda: tf.numpy_function(
                look, [one, *inputs, *more(lambda t: t)], tf.int64, stateful=False
            ),
        )
    stood_out, was_calm = tf.raw_ops.Switch(data=one, pred=calm)
    inputs = [*inputs, *more(lambda t: tf.raw_ops.Switch(data=t, pred=calm)[0])]
    # Not stateful to TensorFlow: the step would be made to wait for it, dead or not.
    looked = tf.numpy_function(look, [stood_out, *inputs], tf.int64, stateful=False)
    merged, _ = tf.raw_ops.Merge(inputs=[was_calm, looked])
    merged.set_shape([])
    return merged


def after(done: Any, gradient: Any) -> Any:
    """Returns the gradient, to be had only after `done` was computed.

    TensorFlow has what takes an identity wait in its stead, and would not order the factors
    of an update anew that wait, as it does in plain training; a check of a shape it leaves.
    """
    if gradient is None:
        return None
    with tf.control_dependencies([done]):
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.ensure_shape(gradient.values, gradient.values.shape)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return tf.ensure_shape(gradient, gradient.shape)


def replica_id() -> int:
    """Returns the replica whose step is being traced, 0 without a strategy."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    replica = context.replica_id_in_sync_group
    if isinstance(replica, int):
        return replica
    static = tf.get_static_value(replica)
    return 0 if static is None else int(static)


def batch_size(found: Iterable[Any]) -> Any:
    """Returns the batch size as a float32 scalar where shapes do not fix it.

    Args:
        found: tensors that were met, with their kinds.
    """
    found = list(found)
    if all(f.tensor.shape.is_fully_defined() for f in found):
        return None
    for f in found:
        if f.kind == "input" and f.tensor.shape.rank:
            return tf.cast(tf.shape(f.tensor)[0], tf.float32)
    return None
