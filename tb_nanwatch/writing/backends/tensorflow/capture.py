# SPDX-License-Identifier: Apache-2.0
"""What a bad step was made of, kept from before its update: the capsule's contents.

Only the first step of each new fault is kept, and of these only the one that turns
out to decide the run's status. Healthy steps pay for the gate alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tb_nanwatch.postmortem.capsule import NO_BATCH, SavedVariable, Sum
from tb_nanwatch.postmortem.variables import state_variables
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import MADE_LATE, Kept

Array = npt.NDArray[Any]


@dataclass
class Batch:
    """The batch of a step that is being traced, and what its forward pass changes.

    Attributes:
        structure: nested as `train_step` received it; leaves are places in
            `tensors`, or None.
        tensors: its tensors.
        early: tensors of the variables that change without waiting for the gate
            (batch normalisation's statistics, seeds, an optimizer's counters), from
            the step's beginning.
        early_ids: ids of the variables that `early` holds.
        everything: whether `early` holds all variables.
        complete: whether every leaf is a tensor.
    """

    structure: Any
    tensors: list[Any]
    early: list[Any]
    early_ids: list[int]
    everything: bool
    complete: bool

    @property
    def inputs(self) -> list[Any]:
        """What a step hands over, so that it can be kept."""
        return [*self.tensors, *self.early]


class Capture:
    """Keeps steps of one model.

    Args:
        model: the model that is being fitted.
        max_bytes: of variables and batch together; larger ones are not kept.
    """

    def __init__(self, model: Any, max_bytes: int) -> None:
        self._model = model
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        # The last fault's step on each replica; what is not wanted goes at its end.
        self._pending: dict[tuple[Phase, int], Kept] = {}
        self._kept: Kept | None = None
        self._closed = False
        self.too_large = False

    def begin(self, data: Any, everything: bool) -> Batch:
        """Reads, in the graph, what changes without waiting for the gate.

        Args:
            data: as `train_step` received it.
            everything: reads all variables: XLA's cluster updates them unseen.
        """
        tensors: list[Any] = []
        complete = True

        def place(leaf: Any) -> int | None:
            nonlocal complete
            if isinstance(leaf, tf.Tensor):
                tensors.append(leaf)
                return len(tensors) - 1
            complete = complete and leaf is None
            return None

        structure = keras.tree.map_structure(place, data)
        batch = Batch(structure, tensors, [], [], everything, complete)
        self.read(batch)
        return batch

    def read(self, batch: Batch) -> None:
        """Reads what changes without waiting for the gate and was not there before.

        Args:
            batch: of the step that is being traced and has changed nothing yet.
        """
        known = {id(v) for v in self._model.metrics_variables}.union(batch.early_ids)
        for role, variable in state_variables(self._model):
            if id(variable) not in known and (
                batch.everything
                or role == "random"
                or (role == "model" and not variable.trainable)
                # Counters and rates change without waiting for the gradients.
                or (role.startswith("optimizer") and not len(variable.shape))
            ):
                batch.early.append(tf.convert_to_tensor(variable.value))
                batch.early_ids.append(id(variable))

    def keep(
        self,
        batch: Batch,
        phase: Phase,
        replica: int,
        step: int,
        inputs: Sequence[Array],
        missing: Sequence[str] = (),
        for_look: bool = False,
    ) -> None:
        """Keeps the step that is running; called by the step itself.

        Args:
            batch: of the step.
            phase, replica, step: which step.
            inputs: values of the batch's `inputs`.
            missing: why it is not the whole step, in words.
            for_look: it is looked at, too, whether or not a capsule is still wanted.
        """
        if self._closed and not for_look:
            return
        tensors = sum(t.nbytes for t in inputs[: len(batch.tensors)])
        if self._is_too_large(tensors):
            return
        kept = self.make(batch, phase, replica, step, inputs, missing)
        with self._lock:
            self._pending[phase, replica] = kept

    def _is_too_large(self, nbytes: int) -> bool:
        """Returns whether all variables, and a batch of so many bytes, are too much."""
        size = nbytes + sum(
            int(np.prod(v.shape)) * np.dtype(_numpy_name(v.dtype)).itemsize
            for _, v in state_variables(self._model)
        )
        too_large = size > self._max_bytes
        self.too_large = self.too_large or too_large
        return too_large

    def make(
        self,
        batch: Batch,
        phase: Phase,
        replica: int,
        step: int,
        inputs: Sequence[Array],
        missing: Sequence[str] = (),
        sums: Sequence[Sum] = (),
    ) -> Kept:
        """Returns a step as it can be run again.

        Args:
            batch: of the step.
            phase, replica, step: which step.
            inputs: values of the batch's `inputs`.
            missing: why it is not the whole step, in words.
            sums: of the step's tensors.
        """
        tensors = inputs[: len(batch.tensors)]
        early = inputs[len(batch.tensors) :]
        all_variables = state_variables(self._model)
        before = dict(zip(batch.early_ids, early, strict=True))
        metrics = {id(v) for v in self._model.metrics_variables}

        def value(variable: Any) -> Array | None:
            if id(variable) in before:
                return np.array(before[id(variable)])
            # A metric's sums so far play no part in the step.
            if id(variable) in metrics or batch.everything:
                return None
            return _component(variable, replica)

        variables = [
            SavedVariable(role, variable.path, value(variable))
            for role, variable in all_variables
        ]
        made = {id(v) for _, v in all_variables} - metrics - before.keys()
        gone = list(missing) + ([] if batch.complete else [NO_BATCH])
        if batch.everything and made:
            gone.append(MADE_LATE)
        data = keras.tree.map_structure(
            lambda i: None if i is None else np.array(tensors[i]), batch.structure
        )
        return Kept(phase, step, replica, data, variables, gone, list(sums))

    def offer(self, kept: Kept) -> None:
        """Keeps a step that was run again, the run's onset, if it is not too large."""
        leaves = [leaf for leaf in keras.tree.flatten(kept.data) if leaf is not None]
        if not self._closed and not self._is_too_large(sum(t.nbytes for t in leaves)):
            with self._lock:
                self._kept = kept

    def has(self, phase: Phase, replica: int, step: int) -> bool:
        """Returns whether that step was kept."""
        kept = self._pending.get((phase, replica))
        return kept is not None and kept.step == step

    def kept_by_gate(
        self, phase: Phase, replica: int, step: int, sums: Sequence[Sum]
    ) -> Kept | None:
        """Returns a step as its gate kept it, with the sums of its tensors.

        Args:
            phase, replica, step: which step.
            sums: of its tensors.
        """
        with self._lock:
            kept = self._pending.pop((phase, replica), None)
        if kept is None or kept.step != step:
            return None
        kept.sums = list(sums)
        return kept

    def settle(
        self,
        phase: Phase,
        replica: int,
        wanted: bool,
        sums: Sequence[Sum] = (),
    ) -> None:
        """Says whether the step that was kept last is the run's onset.

        Args:
            phase, replica: of the step.
            wanted: whether it is.
            sums: of the step's tensors.
        """
        with self._lock:
            kept = self._pending.pop((phase, replica), None)
            if kept is not None and wanted:
                kept.sums = list(sums)
                self._kept = kept

    def take(self, last: bool = True) -> Kept | None:
        """Returns the step at which the run went bad, or stalled.

        Args:
            last: keeps no more from then on.
        """
        with self._lock:
            kept, self._kept = self._kept, None
            self._closed = last
            self._pending.clear()
            return kept


def _component(variable: Any, replica: int) -> Array:
    """Returns a replica's own value of a variable, read on the host."""
    value = variable.value
    parts = getattr(value, "values", None)
    if isinstance(parts, tuple) and replica < len(parts):
        value = parts[replica]
    return np.array(value.numpy())


def _numpy_name(dtype: str) -> str:
    return "float16" if dtype == "bfloat16" else dtype
