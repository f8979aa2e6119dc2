# SPDX-License-Identifier: Apache-2.0
"""An observer of a step of which nobody is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.recording.observer import Expectation, Floats, Layout


class Silent:
    """Nobody is told: what is found is returned instead."""

    def observe(
        self,
        layout: Layout,
        replica: int,
        step: int,
        tensors: Sequence[Any],
        *,
        spent: float = 0.0,
    ) -> Expectation:
        """Is never called."""
        raise NotImplementedError

    def is_onset(self, phase: Phase, step: int, replica: int) -> bool:
        """Is never called."""
        raise NotImplementedError

    def rows(self, layout: Layout, replica: int, first_step: int, rows: Floats) -> None:
        """Is never called."""
        raise NotImplementedError
