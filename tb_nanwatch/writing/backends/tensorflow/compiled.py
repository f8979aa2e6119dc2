"""Runs one step compiled, as a training does, and returns what the probes saw of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tb_nanwatch.postmortem.capsule import Sum
from tb_nanwatch.record.schema import KINDS, BadTensor, Phase
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.tensorflow.instrument import Instrument
from tb_nanwatch.writing.recording.health import tensor_health
from tb_nanwatch.writing.recording.observer import LOOK_NEXT, Expectation, Floats, Layout


@dataclass
class Seen:
    """What was seen of a step: its non-finite tensors and all sums, in causal order."""

    bad: list[BadTensor] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)

    def observe(
        self,
        layout: Layout,
        replica: int,
        step: int,
        tensors: Sequence[Any],
        *,
        spent: float = 0.0,
    ) -> Expectation:
        """Counts the non-finite elements of each tensor."""
        for probe, source in zip(layout.probes, layout.sources, strict=True):
            health = tensor_health(tensors[source])
            counts = (health.num_nan, health.num_pos_inf, health.num_neg_inf)
            if any(counts):
                size = int(np.size(tensors[source]))
                self.bad.append(BadTensor(probe.kind, probe.name, *counts, size=size))
        return Expectation(LOOK_NEXT, np.zeros(layout.num_columns, np.bool_))

    def is_onset(self, phase: Phase, step: int, replica: int) -> bool:
        """Returns False: nothing is kept of the step."""
        return False

    def rows(self, layout: Layout, replica: int, first_step: int, rows: Floats) -> None:
        """Keeps the sums of the first step."""
        self.sums += [Sum(*part) for part in layout.sums(rows[0])]


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
    instrument = Instrument(model, seen, activations_only=activations_only)
    instrument.install(Caller(seen))
    try:
        function = model.train_function if phase == "train" else model.test_function
        function(iter(_dataset(data, fixed)))
        instrument.read()
    finally:
        instrument.uninstall()
    order = {kind: i for i, kind in enumerate(KINDS)}
    seen.bad.sort(key=lambda b: order[b.kind])
    return seen


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
