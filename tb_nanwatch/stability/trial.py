"""One short training: at most so many steps, ended as soon as it goes bad or takes off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import keras

from tb_nanwatch.record.schema import BAD_STATUSES, Status
from tb_nanwatch.writing.callback import NanWatch

# Steps between looks after a runaway, which stays finite and so ends nothing by itself.
LOOK_STEPS: Final = 20


class ShortWatch(NanWatch):
    """Watches a short training, and says nothing of it; `status` is what became of it."""

    def __init__(self, log_dir: str) -> None:
        # What it needs to know is whether, and not why: nothing is kept or tried again.
        super().__init__(
            log_dir, on_nonfinite="stop", capsules=0, rewind_bytes=0, experiments=0
        )
        self.silent = True


class Limit(keras.callbacks.Callback):
    """Ends a training after so many steps, or once it went bad.

    Args:
        steps: at most; with `steps_per_execution` up to one execution more.
        look: has the watch look at the training.
        status: returns what it saw.

    Attributes:
        steps: that were trained.
        finite: whether every loss was.
    """

    def __init__(
        self, steps: int, look: Callable[[], None], status: Callable[[], Status | None]
    ) -> None:
        super().__init__()
        self._limit, self._look, self._status = steps, look, status
        self._before = self._looked = self.steps = 0
        self.finite = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes how many steps the epochs before had."""
        self._before = self.steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the training where it is time."""
        self.steps = self._before + int(batch) + 1
        # Without a watch (another backend) the loss is all that is seen.
        loss = (logs or {}).get("loss")
        self.finite = self.finite and (loss is None or math.isfinite(float(loss)))
        if self.steps - self._looked >= LOOK_STEPS:
            self._looked = self.steps
            self._look()
        bad = self._status() in BAD_STATUSES or not self.finite
        if bad or self.steps >= self._limit:
            self.model.stop_training = True
