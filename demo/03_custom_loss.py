"""A loss of one's own, the mean relative error, on counts: some labels are zero."""

import keras
import keras_tuner
import numpy as np
import places

from tb_nanwatch import NanWatch

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
x = rng.normal(size=(1000, 10)).astype(np.float32)
y = rng.poisson(np.exp(1.5 + 0.3 * x[:, 0] - 0.2 * x[:, 1])).astype(np.float32)


def relative_error(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) / keras.ops.abs(y_true))


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(hp.Int("units", 32, 512, step=32), activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    rate = hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4])
    model.compile(keras.optimizers.Adam(rate), loss=relative_error)
    return model


if __name__ == "__main__":
    tuner = keras_tuner.RandomSearch(
        build,
        objective="val_loss",
        max_trials=5,
        seed=3,
        directory=places.tuner_dir(),
        project_name="custom_loss",
    )
    try:
        tuner.search(
            x,
            y,
            validation_split=0.2,
            epochs=5,
            verbose=0,
            callbacks=[NanWatch(places.log_dir("custom_loss"))],
        )
    except RuntimeError as error:
        places.say(tuner)
        places.aborted(error)
    else:
        places.say(tuner)
