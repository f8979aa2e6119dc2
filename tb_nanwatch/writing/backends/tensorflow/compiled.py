# SPDX-License-Identifier: Apache-2.0
"""Runs one step compiled, as a training does, and returns what the probes saw of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tb_nanwatch.postmortem import state
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.seen import Seen
from tb_nanwatch.writing.backends.tensorflow.instrument import Instrument


def run_compiled(
    model: Any, phase: Phase, data: Any, *, fixed: bool, activations_only: bool = False
) -> Seen:
    """Runs one compiled step of `model` from its present state.

    Args:
        model: compiled, with `steps_per_execution` of 1.
        phase: which step.
        data: the batch, a nest of arrays.
        fixed: trace the step for this size of batch alone. It is another program, which
            may round otherwise.
        activations_only: as the training was watched.
    """
    seen = Seen()
    instrument = Instrument(model, seen, Wishes(activations_only=activations_only))
    instrument.install(Caller(seen))
    try:
        function = model.train_function if phase == "train" else model.test_function
        function(iter(_dataset(data, fixed)))
        instrument.read()
    finally:
        instrument.uninstall()
    return seen.in_causal_order()


def runs(model: Any, capsule: Capsule) -> Iterator[Seen]:
    """Yields what is seen of a capsule's step; see `interface.Backend`."""
    for fixed in (False, True):  # Keras fixes the batch size where batches are alike
        missing = state.assign(model, capsule.variables)
        phase, data = capsule.position.phase, capsule.data
        seen = run_compiled(model, phase, data, fixed=fixed)
        seen.missing = missing
        yield seen


def _dataset(data: Any, fixed: bool) -> Any:
    """Returns a dataset of the one batch."""
    nest = _tuples(data)

    def spec(leaf: Any) -> Any:
        tensor = tf.convert_to_tensor(leaf)
        shape = tensor.shape
        if shape.rank and not fixed:
            shape = [None, *shape[1:]]
        return tf.TensorSpec(shape, tensor.dtype)

    def batches() -> Iterator[Any]:
        yield nest

    signature = keras.tree.map_structure(spec, nest)
    return tf.data.Dataset.from_generator(batches, output_signature=signature)


def _tuples(data: Any) -> Any:
    """Returns `data` with tuples for lists: a dataset would stack a list's arrays."""
    if isinstance(data, list | tuple):
        return tuple(_tuples(item) for item in data if item is not None)
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return data
