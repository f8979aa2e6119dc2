# SPDX-License-Identifier: Apache-2.0
"""Keras' private names."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tb_nanwatch.compat.names import Attribute, Feature, Global, Inside

_GLOBAL_SEED: Final = "global_seed_generator"

_GLOBAL_STATE: Final = Global(
    "keras.src.backend.common.global_state", "get_global_attribute", Feature.CAPSULE
)
_SEED_IN_STATE: Final = Inside(
    "keras.src.random.seed_generator",
    "global_seed_generator",
    Feature.CAPSULE,
    inner=_GLOBAL_SEED,
)
_JIT_COMPILE: Final = Attribute("a model", "_jit_compile", Feature.XLA, "keras")
_LAYERS: Final = Attribute("a layer", "_layers", Feature.SUBLAYERS, "keras")
_TRAINABLE: Final = Attribute(
    "a layer", "_trainable_variables", Feature.VARIABLE_NAMES, "keras"
)
_NON_TRAINABLE: Final = Attribute(
    "a layer", "_non_trainable_variables", Feature.VARIABLE_NAMES, "keras"
)
_COMPILE_LOSS: Final = Attribute("a model", "_compile_loss", Feature.LOSSES, "keras")
_FLAT_LOSSES: Final = Attribute(
    "a compiled loss", "_flat_losses", Feature.LOSSES, "keras"
)
_LEARNING_RATE: Final = Attribute(
    "an optimizer", "_learning_rate", Feature.LEARNING_RATE, "keras"
)
_OPTIMIZED: Final = Attribute(
    "an optimizer", "_trainable_variables", Feature.APPLIED_GRADIENTS, "keras"
)


def global_seed_generator() -> Any:
    """Returns Keras' global seed generator, None where none was made so far.

    It is not made: that would draw a seed.

    Raises:
        MissingError: of `Feature.CAPSULE`.
    """
    _SEED_IN_STATE.find()
    return _GLOBAL_STATE.find()(_GLOBAL_SEED)


@contextlib.contextmanager
def without_xla(model: Any) -> Iterator[None]:
    """Builds the model's functions without XLA, where it was compiled with XLA.

    The public property is not enough: its setter decides again whether XLA can be used.

    Raises:
        MissingError: of `Feature.XLA`.
    """
    if model.jit_compile is not True:
        yield
        return
    before = _JIT_COMPILE.of(model)
    model.jit_compile = False
    try:
        yield
    finally:
        setattr(model, _JIT_COMPILE.name, before)


def sublayers(layer: Any) -> list[Any]:
    """Returns the layers that stand right below a layer; without the name a model's."""
    found = _LAYERS.get(layer, None)
    return list(getattr(layer, "layers", ()) if found is None else found)


def own_variables(layer: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Returns a layer's own weights, frozen ones too, and its own other variables."""
    return _TRAINABLE.get(layer, ()), _NON_TRAINABLE.get(layer, ())


def compiled_loss(model: Any) -> Any:
    """Returns the object that calls a model's losses, None where it has none."""
    return _COMPILE_LOSS.get(model, None)


def single_losses(compiled: Any) -> Sequence[Any]:
    """Returns the parts of a compiled loss; none before the first batch was seen."""
    return _FLAT_LOSSES.get(compiled, None) or ()


def learning_rate_variable(optimizer: Any) -> Any:
    """Returns an optimizer's learning rate as it keeps it: a variable or a schedule.

    The public property would compute a schedule's rate.
    """
    return _LEARNING_RATE.get(optimizer, None)


@contextlib.contextmanager
def learning_rate_replaced(optimizer: Any, rate: Any) -> Iterator[None]:
    """Sets an optimizer's learning rate, or its schedule, until the block ends.

    Args:
        optimizer: whose rate is a schedule, or a function.
        rate: what it is to go by, of the same kind.
    """
    before = learning_rate_variable(optimizer)
    setattr(optimizer, _LEARNING_RATE.name, rate)
    try:
        yield
    finally:
        setattr(optimizer, _LEARNING_RATE.name, before)


def optimized_variables(optimizer: Any) -> list[Any]:
    """Returns the variables that an optimizer was built for."""
    return list(_OPTIMIZED.get(optimizer, ()))


def better_of(model: Any, name: str) -> str | None:
    """Returns whether less or more of a logged metric is better, as Keras tells it.

    Keras' callbacks go by the same. Metrics of one's own say nothing.

    Args:
        model: that was fitted.
        name: in its logs: "val_accuracy", or "head_accuracy" of a model's output.

    Returns:
        "min", "max" or None.
    """
    bare = name.removeprefix("val_")
    if bare == "loss" or bare.endswith("_loss"):
        return "min"
    found = set()
    waiting = list(getattr(model, "metrics", ()))
    while waiting:
        metric = waiting.pop()
        waiting += getattr(metric, "metrics", ())
        own = getattr(metric, "name", None)
        if own and (bare == own or bare.endswith(f"_{own}")):
            found.add(getattr(metric, "_direction", None))
    (way,) = found if len(found) == 1 else (None,)
    return {"up": "max", "down": "min"}.get(way) if way else None


def replicas_of(model: Any) -> int:
    """Returns how many replicas train in sync; a strategy is TensorFlow's alone."""
    strategy = getattr(model, "distribute_strategy", None)
    return int(getattr(strategy, "num_replicas_in_sync", 1))


def step_on_data(function: Any) -> Any:
    """Returns the function that makes one step of a batch, within Keras' own of an iterator.

    Keras wraps what a step returns in an optional of `tf.data`, and takes it out again.

    Args:
        function: a model's `train_function` or `test_function`, on TensorFlow.

    Returns:
        None where the function is another one, or makes several steps: then nothing is
        missed, but the time of an optional.
    """
    captured = _captured(function)
    of_iterator = getattr(captured.get("multi_step_on_iterator"), "python_function", None)
    code = getattr(inspect.unwrap(of_iterator), "__code__", None) if of_iterator else None
    wraps = {"steps_per_execution", "get_next", "from_value"}
    if code is None or not wraps <= set(code.co_names):
        return None
    return captured.get("one_step_on_data")


def _captured(function: Any) -> dict[str, Any]:
    """Returns the variables that a function has from around it, by name."""
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):  # no function of Python's; one is not set so far
        return {}
