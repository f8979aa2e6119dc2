# SPDX-License-Identifier: Apache-2.0
"""Calls of a step that hand its results out as they are.

Keras' function wraps what a step returns in an optional of `tf.data`, which Python takes
apart again: a fifth of a small model's step (docs/overhead.md). The step itself is Keras',
the very function that its own would call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_nanwatch.compat.keras import replicas_of, step_on_data


def direct(model: Any, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function that does what Keras' does, sooner where that can be.

    Args:
        model: that is fitted.
        function: Keras' `train_function` or `test_function`: takes an iterator of batches,
            and returns the logs of a call's last step.

    Returns:
        `function` itself where a call makes several steps, or steps run eagerly, on
        several replicas, or by a function that is not Keras' own.
    """
    makes_several = int(model.steps_per_execution) != 1
    if model.run_eagerly or replicas_of(model) > 1 or makes_several:
        return function
    one_step = step_on_data(function)
    if one_step is None:
        return function

    @tf.autograph.experimental.do_not_convert
    def of_iterator(iterator: Any) -> Any:
        return one_step(iterator.get_next())

    step = tf.function(of_iterator, reduce_retracing=True)

    def call(iterator: Any) -> Any:
        return (step if isinstance(iterator, tf.data.Iterator) else function)(iterator)

    return call
