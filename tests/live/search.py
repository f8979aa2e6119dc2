"""A slow search whose trials meet harmless NaNs again and again: `search.py LOGS TUNER`.

Keras' TensorBoard callback, and the HParams callback that KerasTuner adds to it,
write into the same run directories as NaN Watch.
"""

import sys
import time

import keras
import keras_tuner
import numpy as np

from tb_nanwatch import NanWatch

TRIALS, EPOCHS, BATCHES, BATCH = 2, 4, 15, 8


class Slow(keras.callbacks.Callback):
    """Gives TensorBoard the time to reload while the training runs."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.05)


@keras.saving.register_keras_serializable("live")
class Guard(keras.Layer):
    """Lets no NaN through, so that it stays contained."""

    def call(self, x):
        return keras.ops.where(keras.ops.isnan(x), 0.0, x)


def build(hp):
    model = keras.Sequential([keras.Input((3,)), Guard(), keras.layers.Dense(1)])
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def main(logs: str, directory: str) -> None:
    x = np.ones((BATCHES * BATCH, 3), "float32")
    x[:: 2 * BATCH, 0] = np.nan  # one row of every other batch
    tuner = keras_tuner.RandomSearch(
        build, "loss", max_trials=TRIALS, directory=directory, project_name="live", seed=1
    )
    tuner.search(
        x,
        x[:, 1:2],
        epochs=EPOCHS,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs), keras.callbacks.TensorBoard(logs), Slow()],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
