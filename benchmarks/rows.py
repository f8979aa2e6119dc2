# SPDX-License-Identifier: Apache-2.0
"""The tools compared with plain `fit`: each is a row of the table, and at most one line of code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Batch = Any


@dataclass(frozen=True)
class Row:
    """One way to watch a training.

    Attributes:
        callbacks: returns the callbacks that make the difference, from a log
            directory and the inputs of a batch.
        switch_on: changes the whole process before the model is built, from a log
            directory. Such a row is measured in a process of its own.
    """

    callbacks: Callable[[str, Batch], list[Any]] = lambda log_dir, batch: []
    switch_on: Callable[[str], None] | None = None


def _nanwatch(**options: Any) -> Callable[[str, Batch], list[Any]]:
    def callbacks(log_dir: str, batch: Batch) -> list[Any]:
        from tb_nanwatch import NanWatch

        return [NanWatch(log_dir, **options)]

    return callbacks


def _terminate_on_nan(log_dir: str, batch: Batch) -> list[Any]:
    import keras

    return [keras.callbacks.TerminateOnNaN()]


def _tensorboard(log_dir: str, batch: Batch) -> list[Any]:
    import keras

    return [keras.callbacks.TensorBoard(log_dir, histogram_freq=1)]


def _second_forward_pass(log_dir: str, batch: Batch) -> list[Any]:
    import keras
    import tensorflow as tf

    class SecondForwardPass(keras.callbacks.Callback):
        """Reads whether every layer's output is finite by running the model again."""

        def on_train_begin(self, logs: Any = None) -> None:
            outputs = [layer.output for layer in self.model.layers]
            reader = keras.Model(self.model.inputs, outputs)
            self.read = tf.function(
                lambda x: [
                    tf.reduce_all(tf.math.is_finite(o))
                    for o in reader(x)
                    if o.dtype.is_floating
                ]
            )

        def on_train_batch_end(self, batch_number: int, logs: Any = None) -> None:
            self.read(batch)

    return [SecondForwardPass()]


def _check_numerics(log_dir: str) -> None:
    import tensorflow as tf

    tf.debugging.enable_check_numerics()


def _dump(mode: str) -> Callable[[str], None]:
    def switch_on(log_dir: str) -> None:
        import tensorflow as tf

        tf.debugging.experimental.enable_dump_debug_info(
            log_dir, tensor_debug_mode=mode, circular_buffer_size=1000
        )

    return switch_on


def _without_optional(log_dir: str, batch: Batch) -> list[Any]:
    import keras

    from tb_nanwatch.writing.backends.tensorflow.direct import direct

    class Direct(keras.callbacks.Callback):
        """Has the step called as NaN Watch calls it, and watches nothing."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.model.train_function = direct(self.model, self.model.train_function)

    return [Direct()]


ROWS = {
    "plain": Row(),
    # How much of plain `fit` the wrapping of a step's results is.
    "plain, results not wrapped": Row(_without_optional),
    "NaN Watch": Row(_nanwatch()),
    "NaN Watch, activations_only=True": Row(_nanwatch(activations_only=True)),
    "NaN Watch, rewind_bytes=0": Row(_nanwatch(rewind_bytes=0)),
    "keras TerminateOnNaN (the loss alone)": Row(_terminate_on_nan),
    "keras TensorBoard(histogram_freq=1)": Row(_tensorboard),
    "a callback with a second forward pass": Row(_second_forward_pass),
    "tf.debugging.enable_check_numerics": Row(switch_on=_check_numerics),
    "enable_dump_debug_info, CONCISE_HEALTH": Row(switch_on=_dump("CONCISE_HEALTH")),
    "enable_dump_debug_info, FULL_HEALTH": Row(switch_on=_dump("FULL_HEALTH")),
}
