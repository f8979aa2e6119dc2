"""A search that a test holds: `live_search.py LOGDIR TUNERDIR FLAGS`.

Trial 0 lives and waits after its first epoch until FLAGS/go exists; trial 1 dies at once
and waits until FLAGS/end exists.
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


class Hold(keras.callbacks.Callback):
    """Waits for a file, as a slow training would."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        flag = pathlib.Path(FLAGS, "go" if rate < 1 else "end")
        while not flag.exists():
            time.sleep(0.05)


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    """A linear model, of the rates 0.01 and 1e8."""
    rate = [0.01, 1e8][hp.Int("n", 0, 1)]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)
tuner = keras_tuner.GridSearch(
    build, "loss", max_trials=2, directory=TUNERDIR, project_name="held"
)
tuner.search(
    x, y, epochs=2, batch_size=4, verbose=0, callbacks=[NanWatch(LOGDIR), Hold()]
)
