# SPDX-License-Identifier: Apache-2.0
"""Models that are built by the first batch they see: built as Keras does, and before."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.writing.backends.names import has_keras_step, walk
from tb_nanwatch.writing.backends.tensorflow.ops import function_of

# Modules whose Python does the same however often it is traced: the probes' is among it.
_OURS_OR_KERAS: Final = ("keras.", "tb_nanwatch.")


def is_built(model: Any) -> bool:
    """Returns whether all layers have their variables.

    Optimizers are left to the step: what one assigns to its slots while it is built
    (ScheduleFreeAdamW) belongs to the step that builds it.
    """
    return all(layer.built for _, layer in walk(model))


def build_as_keras_does(train_step: Callable[[Any], Any], data: Any) -> None:
    """Traces a step without probes, and throws the trace away; what it builds stays.

    So do Keras' own functions in their first call: layers, loss, metrics and optimizer
    are made by the same calls in the same order, with the same seeds. The probes of the
    step that is traced next know all its variables.

    Args:
        train_step: takes the batch.
        data: the batch, in the graph that is being traced.
    """
    drawn = np.random.get_state()  # noqa: NPY002
    try:
        function_of(train_step, xla=False).get_concrete_function(data)
    finally:
        # Arrays that a step draws while it is traced are drawn once more.
        np.random.set_state(drawn)  # noqa: NPY002


def calls_keras_alone(model: Any) -> bool:
    """Returns whether a step, as it is traced, calls no Python but that of Keras.

    Nothing can tell then whether it is traced once or twice.
    """
    parts = [layer for _, layer in walk(model, calls=True)]
    parts += keras.tree.flatten([model.loss, list(model.metrics)])
    return has_keras_step(model) and all(_is_of_keras(part) for part in parts)


def _is_of_keras(part: Any) -> bool:
    """Returns whether a layer, a loss or a metric is Keras', with all that it calls."""
    if part is None or isinstance(part, str):
        return True
    held = () if isinstance(part, types.FunctionType) else vars(part).values()
    return _all_in_keras([part]) and _all_in_keras(v for v in held if callable(v))


def _all_in_keras(values: Iterable[Any]) -> bool:
    modules = (getattr(value, "__module__", None) for value in values)
    return all(str(name).startswith(_OURS_OR_KERAS) for name in modules)
