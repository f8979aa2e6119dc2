# SPDX-License-Identifier: Apache-2.0
"""Models that are built by the first batch they see: built as Keras does, and before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tb_nanwatch.writing.backends.names import walk
from tb_nanwatch.writing.backends.tensorflow.ops import function_of


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
