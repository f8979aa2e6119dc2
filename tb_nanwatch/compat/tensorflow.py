# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's private names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from tb_nanwatch.compat.names import Attribute, Feature, Global, Inside, MissingError

_RESOURCE_VARIABLE: Final = Global(
    "tensorflow.python.ops.resource_variable_ops", "ResourceVariable", Feature.WATCHING
)
_TENSOR_ID: Final = Attribute("an eager tensor", "_id", Feature.POST_MORTEM, "tensorflow")
_ADD_CALLBACK: Final = Global(
    "tensorflow.python.framework.op_callbacks", "add_op_callback", Feature.POST_MORTEM
)
_REMOVE_CALLBACK: Final = Global(
    "tensorflow.python.framework.op_callbacks", "remove_op_callback", Feature.POST_MORTEM
)
_GRADIENT: Final = Global(
    "tensorflow.python.eager.backprop", "_gradient_function", Feature.POST_MORTEM
)
_REGISTER_GRADIENT: Final = Global(
    "tensorflow.python.pywrap_tfe",
    "TFE_Py_RegisterGradientFunction",
    Feature.POST_MORTEM,
)
_BACKWARD: Final = Global(
    "tensorflow.python.eager.imperative_grad", "imperative_grad", Feature.POST_MORTEM
)
_CONTEXT: Final = Global(
    "tensorflow.python.eager.context", "context", Feature.POST_MORTEM
)
_GLOBAL_SEED: Final = Global(
    "tensorflow.python.eager.context", "global_seed", Feature.POST_MORTEM
)
_RANDOM: Final = Attribute("the eager context", "_rng", Feature.POST_MORTEM, "tensorflow")
_CUSTOM_GRADIENT: Final = Inside(
    "tensorflow.python.ops.custom_gradient",
    "_eager_mode_decorator",
    Feature.CUSTOM_GRADIENT,
    inner="actual_grad_fn",
)
_CUSTOM_RESULT: Final = Inside(
    "tensorflow.python.ops.custom_gradient",
    "_eager_mode_decorator",
    Feature.CUSTOM_GRADIENT,
    inner="result",
)
_MATH: Final = (
    Global("tensorflow.python.ops.gen_math_ops", "", Feature.EPSILON),
    Global("tensorflow.python.ops.math_ops", "", Feature.EPSILON),
)


def resource_variable(value: Any) -> Any:
    """Returns a plain variable, under a distribution strategy too.

    Raises:
        MissingError: of `Feature.WATCHING`.
    """
    return _RESOURCE_VARIABLE.find()(value, trainable=False)


def tensor_id(tensor: Any, default: int | None = None) -> int:
    """Returns the number that TensorFlow gives to an eager tensor, or to a handle.

    Args:
        tensor: eager, unless `default` is given.
        default: of what has no number.

    Raises:
        MissingError: of `Feature.POST_MORTEM`.
    """
    try:
        number: int = _TENSOR_ID.of(tensor)
    except MissingError:
        if default is None:
            raise
        return default
    return number


@contextlib.contextmanager
def operations_watched(
    callback: Callable[..., None],
    gradients: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Iterator[None]:
    """Reports each eager operation of this thread until the block ends.

    Args:
        callback: called after each operation with its type, inputs, attributes, outputs,
            name and graph.
        gradients: returns what stands in for TensorFlow's function that runs an
            operation's gradient, which it is given.

    Raises:
        MissingError: of `Feature.POST_MORTEM`.
    """
    add, remove = _ADD_CALLBACK.find(), _REMOVE_CALLBACK.find()
    original, register = _GRADIENT.find(), _REGISTER_GRADIENT.find()
    add(callback)
    register(gradients(original))
    try:
        yield
    finally:
        register(original)
        remove(callback)


def backward_file() -> str:
    """Returns the file whose function runs the backward pass.

    Raises:
        MissingError: of `Feature.POST_MORTEM`.
    """
    file: str = _BACKWARD.find().__code__.co_filename
    return file


def eager_random() -> Any:
    """Returns the generator of eager operations' seeds, None where no seed was set.

    Raises:
        MissingError: of `Feature.POST_MORTEM`.
    """
    context = _CONTEXT.find()()
    try:
        return _RANDOM.of(context)
    except MissingError:
        if _GLOBAL_SEED.find()() is not None:
            raise
        return None


def custom_result(frame: FrameType) -> Any:
    """Returns the value and the gradient function that a `tf.custom_gradient` function returned.

    None where the frame is not that of its gradient. See `Feature.CUSTOM_GRADIENT`.
    """
    if frame.f_code.co_name != _CUSTOM_GRADIENT.inner:
        return None
    return frame.f_locals.get(_CUSTOM_RESULT.inner)


def math_modules() -> list[Any]:
    """Returns the modules whose functions TensorFlow and Keras call to run operations.

    Raises:
        MissingError: of `Feature.EPSILON`.
    """
    return [module.find() for module in _MATH]
