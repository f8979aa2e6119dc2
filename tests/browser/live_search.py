"""A search that a test holds: `live_search.py LOGDIR TUNERDIR FLAGS`.

Trials 00 to 11 live and end. Trial 12 lives and waits after its first epoch until FLAGS/go
exists; trial 13 dies at once and waits until FLAGS/end exists.
"""

import pathlib
import sys
import time
from typing import Any

import keras
import keras_tuner
import numpy as np

from tb_nanwatch import NanWatch

LOGDIR, TUNERDIR, FLAGS = sys.argv[1:]
RATES = [*(0.001 * (n + 1) for n in range(12)), 0.02, 1e8]
HELD = {12: "go", 13: "end"}


class Hold(keras.callbacks.Callback):
    """Waits for a file, as a slow training would."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        flag = HELD.get(self.model.number)
        while flag and not pathlib.Path(FLAGS, flag).exists():
            time.sleep(0.05)


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    """A linear model, of the rate with the trial's number."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.number = hp.Int("n", 0, len(RATES) - 1)
    model.compile(keras.optimizers.SGD(RATES[model.number]), "mse")
    return model


x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)
tuner = keras_tuner.GridSearch(
    build, "loss", max_trials=len(RATES), directory=TUNERDIR, project_name="held"
)
tuner.search(
    x, y, epochs=2, batch_size=4, verbose=0, callbacks=[NanWatch(LOGDIR), Hold()]
)
