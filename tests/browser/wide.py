"""A wide real search: SGD dies of a high learning rate, Adam does not.

python wide.py LOGDIR TUNERDIR
"""

import sys

import keras
import keras_tuner
import numpy as np

from tb_nanwatch import NanWatch

LOGDIR, TUNERDIR = sys.argv[1:]

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
x = rng.normal(size=(128, 8)).astype("float32")
y = (x @ rng.normal(size=(8, 1))).astype("float32")


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    """An MLP that dies where SGD's learning rate is large."""
    optimizer = hp.Choice("optimizer", ["sgd", "adam"])
    model = keras.Sequential()
    model.add(keras.Input((8,)))
    model.add(keras.layers.Dense(hp.Int("units", 8, 32, step=8), "relu"))
    model.add(keras.layers.Dense(1))
    rate = hp.Float("learning_rate", 1e-4, 1e2, sampling="log")
    # Of Adam's rates a thousandth is taken, which it bears.
    made = (
        keras.optimizers.SGD(rate)
        if optimizer == "sgd"
        else keras.optimizers.Adam(rate / 1e3)
    )
    model.compile(made, "mse")
    return model


tuner = keras_tuner.RandomSearch(
    build,
    "val_loss",
    max_trials=20,
    seed=3,
    max_consecutive_failed_trials=20,
    directory=TUNERDIR,
    project_name="wide",
)
tuner.search(
    x,
    y,
    validation_data=(x[:32], y[:32]),
    epochs=1,
    batch_size=8,
    verbose=0,
    callbacks=[NanWatch(LOGDIR, experiments=0)],
)
