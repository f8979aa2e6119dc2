"""A search as one would run it in earnest: which of these values go bad, and where?"""

from typing import Any

import keras
import keras_tuner
import numpy as np
import places

from tb_nanwatch import NanWatch

TRIALS = 24

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(2000, 10)).astype(np.float32)
y = (5 + 3 * x[:, 0] - 2 * x[:, 1] + 2 * np.sin(2 * x[:, 2]) * x[:, 3]).astype(np.float32)
y += rng.normal(scale=0.1, size=len(y)).astype(np.float32)


class Wide(keras_tuner.HyperModel):
    """A multilayer perceptron of which nearly everything is searched."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        activation = hp.Choice("activation", ["relu", "elu", "tanh"])
        initializer = hp.Choice("initializer", ["glorot_uniform", "he_normal"])
        units = hp.Int("units", 16, 128, step=16)
        model = keras.Sequential([keras.Input((10,))])
        for _ in range(hp.Int("depth", 1, 4)):
            model.add(
                keras.layers.Dense(
                    units, activation=activation, kernel_initializer=initializer
                )
            )
        model.add(keras.layers.Dense(1))
        optimizer = {
            "sgd": keras.optimizers.SGD,
            "rmsprop": keras.optimizers.RMSprop,
            "adam": keras.optimizers.Adam,
        }[hp.Choice("optimizer", ["sgd", "rmsprop", "adam"])]
        rate = hp.Float("learning_rate", 1e-4, 1.0, sampling="log")
        model.compile(optimizer(rate), loss="mse")
        return model

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kw: Any
    ):
        batch_size = hp.Choice("batch_size", [16, 32, 64])
        return model.fit(*args, batch_size=batch_size, **kw)


if __name__ == "__main__":
    tuner = keras_tuner.RandomSearch(
        Wide(),
        objective="val_loss",
        max_trials=TRIALS,
        max_consecutive_failed_trials=TRIALS,  # the search goes through, whatever fails
        seed=1,
        directory=places.tuner_dir(),
        project_name="wide_search",
    )
    tuner.search(
        x,
        y,
        validation_split=0.2,
        epochs=6,
        verbose=0,
        callbacks=[NanWatch(places.log_dir("wide_search"))],
    )
    places.say(tuner)
