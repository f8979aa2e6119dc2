"""The search as the question has it: 1,000 random rows, one hidden layer, Adam."""

import keras
import keras_tuner
import numpy as np
import places

from tb_nanwatch import NanWatch

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.random((1000, 10), dtype=np.float32)
y = rng.random(1000, dtype=np.float32)


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(hp.Int("units", 32, 512, step=32), activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    rate = hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4])
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    return model


if __name__ == "__main__":
    tuner = keras_tuner.RandomSearch(
        build,
        objective="val_loss",
        max_trials=5,
        seed=1,
        directory=places.tuner_dir(),
        project_name="as_asked",
    )
    tuner.search(
        x,
        y,
        validation_split=0.2,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(places.log_dir("as_asked"))],
    )
    places.say(tuner)
