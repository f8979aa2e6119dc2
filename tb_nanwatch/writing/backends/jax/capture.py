# SPDX-License-Identifier: Apache-2.0
"""Keeps the step at which a run goes bad, for the post-mortem."""

from __future__ import annotations

import threading
from typing import Any

import jax
import numpy as np

from tb_nanwatch.postmortem.capsule import SavedVariable, Sum
from tb_nanwatch.postmortem.variables import trained_variables
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.jax.states import variables_in
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.recording.observer import Floats, Layout


class Capture:
    """Holds one step: that at which the run went bad (`kept.Keeper`).

    Args:
        model: that is trained.
        limit: bytes of the largest step that is kept.
    """

    def __init__(self, model: Any, limit: int) -> None:
        self._model, self._limit = model, limit
        self._lock = threading.Lock()
        self._kept: Kept | None = None
        self._closed = False
        self.too_large = False

    def offer(
        self, phase: Phase, step: int, state: Any, data: Any, layout: Layout, row: Floats
    ) -> None:
        """Keeps a step, in the place of the one before.

        Args:
            phase, step: which.
            state, data: what it began with.
            layout: of its row.
            row: [columns] half sums of squares.
        """
        if self._closed:
            return
        size = sum(int(leaf.nbytes) for leaf in jax.tree.leaves(state))
        if size > self._limit:
            self.too_large = True
            return
        values = {
            id(variable): np.asarray(value)
            for variable, value in variables_in(self._model, phase, state)
        }
        variables = [
            SavedVariable(role, variable.path, values.get(id(variable)))
            for role, variable in trained_variables(self._model)
        ]
        kept = Kept(
            *(phase, step, 0, jax.tree.map(np.asarray, data), variables),
            sums=[Sum(*part) for part in layout.sums(row)],
        )
        with self._lock:
            self._kept = kept

    def take(self, last: bool = True) -> Kept | None:
        """Returns the step at which the run went bad, or stalled; None if not kept.

        Args:
            last: keeps no more from then on.
        """
        with self._lock:
            kept, self._kept = self._kept, None
            self._closed = self._closed or last
            return kept
