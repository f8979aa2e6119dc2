# SPDX-License-Identifier: Apache-2.0
"""What is in a model, and what its parts are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from tb_nanwatch.compat.keras import learning_rate_variable, single_losses, sublayers


def walk(model: Any, calls: bool = False) -> Iterator[tuple[str, Any]]:
    """Yields (path, layer) for the model (path "") and everything below it.

    Args:
        model: a model.
        calls: what is called, rather than what has variables. The `keras.ops` that
            stand in a Functional graph are yielded too: they are no layers, and
            without them the next layer gets the blame. The cells of recurrent
            layers and the layer in a TimeDistributed are not: they run in a loop,
            or many times a step, and the output is watched.
    """
    seen: set[int] = set()
    names: dict[str, int] = {}

    def visit(path: str, layer: Any) -> Iterator[tuple[str, Any]]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        names[path] = names.get(path, 0) + 1
        if names[path] > 1:  # two different layers of one name
            path = f"{path}~{names[path]}"
        yield path, layer
        if calls and isinstance(layer, keras.layers.RNN | keras.layers.TimeDistributed):
            return
        for child in _children(layer):
            if isinstance(child, keras.layers.InputLayer):
                continue
            if calls or isinstance(child, keras.Layer):
                yield from visit(f"{path}/{child.name}" if path else child.name, child)

    yield from visit("", model)


def _children(layer: Any) -> list[Any]:
    if not isinstance(layer, keras.Layer):
        return []
    children = list(getattr(layer, "operations", ()) or ())
    if isinstance(layer, keras.Sequential):
        children = list(layer.layers)
    return children + [c for c in sublayers(layer) if c not in children]


def losses(compiled: Any) -> list[tuple[str, Any]]:
    """Returns name and loss object of each loss, in the order in which they are called."""
    found: list[tuple[str, Any]] = []
    for entry in single_losses(compiled):
        loss = getattr(entry, "loss", None)
        if isinstance(loss, keras.losses.Loss) and all(
            loss is not other for _, other in found
        ):
            found.append((str(entry.name or loss.name), loss))
    return found


def no_slots(optimizer: Any) -> set[int]:
    """Returns ids of the optimizer's variables that belong to no weight's update.

    Its counter is left aside: it holds integers, and asking for it may compute.
    """
    ids: set[int] = set()
    while optimizer is not None:  # a LossScaleOptimizer wraps another one
        ids.add(id(learning_rate_variable(optimizer)))
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return ids


def optimizers(model: Any) -> list[Any]:
    """Returns the model's optimizers, those of a `train_step` of its own included."""
    found = [model.optimizer] if model.optimizer is not None else []
    for value in vars(model).values():
        if isinstance(value, keras.optimizers.Optimizer) and value not in found:
            found.append(value)
    return found


def has_keras_step(model: Any) -> bool:
    """Returns whether a model trains by Keras' own step, which uses its one optimizer."""
    return str(type(model).train_step.__module__).startswith("keras.")


def build_optimizer(optimizer: Any, variables: Any) -> None:
    """Makes the slots, as `Optimizer.apply` does in the first step: zeros.

    Made within control dependencies they would belong to these, and TensorFlow could
    not make them before it runs the step.
    """
    if not optimizer.built:
        if _is_several(optimizer):  # it builds each under its own name
            optimizer.build(variables)
        else:
            with keras.name_scope(optimizer.name, caller=optimizer):
                optimizer.build(variables)
        optimizer.built = True


def _is_several(optimizer: Any) -> bool:
    """Returns whether an optimizer is made of several, of which each has its own weights."""
    several = getattr(keras.optimizers, "MultiOptimizer", None)
    return several is not None and isinstance(optimizer, several)


def is_of_keras(optimizer: Any) -> bool:
    """Returns whether an optimizer, and the one that it wraps, is one of Keras' own.

    A MultiOptimizer is not: it is made of what anybody may have written.
    """
    while optimizer is not None:
        if not type(optimizer).__module__.startswith("keras.") or _is_several(optimizer):
            return False
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return True


def updates_by_gradients_alone(optimizer: Any) -> bool:
    """Returns whether weights and slots change only by what depends on the gradients.

    So do Keras' own optimizers, unless they let weights decay, which they do before.
    """
    if not is_of_keras(optimizer):
        return False
    while optimizer is not None:
        if getattr(optimizer, "weight_decay", None):
            return False
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return True
