# SPDX-License-Identifier: Apache-2.0
"""Finds a step's epoch and batch, or its place in a validation pass."""

from __future__ import annotations

import bisect

from tb_nanwatch.record.schema import Phase, Position


class Positions:
    """Knows where epochs and validation passes begin."""

    def __init__(self) -> None:
        self._epoch_starts: list[int] = []
        self._epochs: list[int] = []
        # Validation passes: first step of each, and the training steps before it.
        self._pass_starts: list[int] = []
        self._pass_trained: list[int] = []

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Says that `epoch` begins before training step `step`."""
        self._epoch_starts.append(step)
        self._epochs.append(epoch)

    def begin_validation(self, step: int, trained: int) -> None:
        """Says that a pass begins before validation step `step`, `trained` steps in."""
        self._pass_starts.append(step)
        self._pass_trained.append(trained)

    def locate(self, phase: Phase, step: int) -> Position:
        """Returns the position of a phase's own step."""
        if phase == "train":
            i = max(0, bisect.bisect_right(self._epoch_starts, step) - 1)
            start = self._epoch_starts[i] if self._epoch_starts else 0
            epoch = self._epochs[i] if self._epochs else 0
            return Position("train", step, epoch, step - start)
        i = max(0, bisect.bisect_right(self._pass_starts, step) - 1)
        start = self._pass_starts[i] if self._pass_starts else 0
        trained = self._pass_trained[i] if self._pass_trained else 0
        epoch = self.locate("train", max(0, trained - 1)).epoch
        return Position("validation", trained, epoch, step - start)
