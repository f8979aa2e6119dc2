"""A real search whose fate is mixed: SGD with learning rates up to 1000.

python search.py LOGDIR TUNERDIR
"""

import sys

import keras
import keras_tuner
import numpy as np

from tb_nanwatch import NanWatch

LOGDIR, TUNERDIR = sys.argv[1:]

keras.utils.set_random_seed(7)
rng = np.random.default_rng(7)
x = rng.normal(size=(256, 10)).astype("float32")
y = (x @ rng.normal(size=(10, 1))).astype("float32")


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    """An MLP that dies where the learning rate is large."""
    model = keras.Sequential(name="mlp")
    model.add(keras.Input((10,)))
    model.add(keras.layers.Dense(hp.Int("units", 16, 64, step=16), "relu", name="hidden"))
    model.add(keras.layers.Dense(1, name="out"))
    rate = hp.Float("learning_rate", 1e-3, 1e3, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


tuner = keras_tuner.RandomSearch(
    build,
    "val_loss",
    max_trials=8,
    seed=7,
    # The search is to reach its last trial: half of them diverge.
    max_consecutive_failed_trials=8,
    directory=TUNERDIR,
    project_name="mixed",
)
tuner.search(
    x,
    y,
    validation_data=(x[:64], y[:64]),
    epochs=3,
    verbose=0,
    callbacks=[NanWatch(LOGDIR)],
)
