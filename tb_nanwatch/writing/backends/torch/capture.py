# SPDX-License-Identifier: Apache-2.0
"""What a bad step was made of, kept from before its update, in memory.

Weights and slots are read only where a sum is not finite before the update: a healthy step
pays for what its forward pass changes alone (statistics of layers, seeds, counters).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import torch

from tb_nanwatch.postmortem.capsule import NO_BATCH, SavedVariable
from tb_nanwatch.postmortem.variables import state_variables
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.torch.sums import array_of
from tb_nanwatch.writing.backends.torch.tracing import REFRESH

# Of PyTorch's own generator, from which `torch.nn.Dropout` draws; Keras has its own seeds.
GENERATOR: Final = "torch"


class Early:
    """What a step changes before its update, from the step's beginning.

    Args:
        tensors: by the id of their variables, which share their memory.
    """

    def __init__(self, tensors: Sequence[tuple[int, Any]]) -> None:
        # A number is quicker read than copied, from where that does not wait.
        self._values = [
            (at, t.item() if t.is_cpu and not t.ndim else t.clone(), t.dtype)
            for at, t in tensors
        ]
        self.drawn = torch.get_rng_state()

    @property
    def values(self) -> dict[int, Any]:
        """They, as tensors, by the id of their variables."""
        return {
            at: torch.as_tensor(value, dtype=dtype) for at, value, dtype in self._values
        }


class Capture:
    """Keeps the step at which a run goes bad (`kept.Keeper`).

    Args:
        model: that is fitted.
        max_bytes: of variables and batch together; larger ones are not kept.
    """

    def __init__(self, model: Any, max_bytes: int) -> None:
        self._model, self._max_bytes = model, max_bytes
        self._kept: Kept | None = None
        self.too_large = self.closed = False
        self._changing: list[tuple[int, Any]] = []
        self._age = 0

    def begin(self) -> Early:
        """Returns what the step that begins now changes before its update."""
        if self._age < 2 or self._age % REFRESH == 0:
            self._changing = self._list()
        self._age += 1
        return Early(self._changing)

    def _list(self) -> list[tuple[int, Any]]:
        """Returns id and value of each variable that does not wait for the update."""
        metrics = {id(v) for v in self._model.metrics_variables}
        return [
            (id(v), v.value.detach())
            for role, v in state_variables(self._model)
            if id(v) not in metrics
            and (
                role == "random"
                or (role == "model" and not v.trainable)
                or (role.startswith("optimizer") and not len(v.shape))
            )
        ]

    def make(
        self, early: Early, phase: Phase, step: int, data: Any, missing: Sequence[str]
    ) -> Kept | None:
        """Returns a step as it can be run again, None where it is too large.

        Args:
            early: from its beginning.
            phase, step: which step.
            data: its batch.
            missing: why the variables are not those from before it, in words.
        """
        leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
        whole = all(isinstance(leaf, torch.Tensor) for leaf in leaves)
        variables = state_variables(self._model)
        nbytes = sum(v.value.nbytes for _, v in variables)
        nbytes += sum(leaf.nbytes for leaf in leaves) if whole else 0
        if nbytes > self._max_bytes:
            self.too_large = True
            return None
        metrics = {id(v) for v in self._model.metrics_variables}
        values = early.values

        def value(variable: Any) -> Any:
            if id(variable) in metrics:  # its sums so far play no part in the step
                return None
            return np.array(array_of(values.get(id(variable), variable.value)))

        saved = [SavedVariable(role, v.path, value(v)) for role, v in variables]
        saved.append(SavedVariable(GENERATOR, "", early.drawn.numpy()))
        batch = keras.tree.map_structure(
            lambda leaf: None if leaf is None else np.array(array_of(leaf)),
            data if whole else None,
        )
        gone = [*missing, *([] if whole else [NO_BATCH])]
        return Kept(phase, step, 0, batch, saved, gone)

    def keep(self, kept: Kept | None) -> None:
        """Takes the step at which the run went bad, as far as is known by now."""
        if not self.closed:
            self._kept = kept

    def take(self, last: bool = True) -> Kept | None:
        """Returns the step at which the run went bad, or stalled.

        Args:
            last: keeps no more from then on.
        """
        kept, self._kept = self._kept, None
        self.closed = last
        return kept
