"""Callbacks with a fault each, which the comparison must find: NanWatch and worse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tb_nanwatch import NanWatch


class Raises(NanWatch):
    """Ends every training at its first batch."""

    async_safe = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        raise RuntimeError("planted")


class Nudges(NanWatch):
    """Moves the first weight by 1e-7, once an epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        for weight in self.model.trainable_variables[:1]:
            weight.assign(weight + keras.ops.cast(1e-7, weight.dtype))


class Draws(NanWatch):
    """Takes a number from the random state that trainings draw from."""

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        np.random.random()  # noqa: NPY002


class Rewrites(NanWatch):
    """Changes the last bit of one metric in the history."""

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        for values in list(self.model.history.history.values())[:1]:
            values[-1] = float(np.nextafter(values[-1], np.inf))


class Blind(NanWatch):
    """Watches nothing and says nothing."""

    def on_train_begin(self, logs: Any = None) -> None:
        pass
