"""The coefficient of determination as a metric, batch by batch, and a last batch of one.

Source: Keras, issue 16461: evaluate() gives an R squared of -90,000 where that of the whole
data is 0.95. Reason: the metric divides by the variance of each batch's targets, which may be
next to nothing; of the one example that is left for the last batch here it is 0. Answer: a
metric that sums up over all batches (Keras has R2Score).
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": "validation",
    "step": None,
    "operation": ["tf.math.divide"],
    "line_text": "/ ops.var(",
    "causes": ["metric_domain"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "unscaled_targets"],
    "fix": "keras.metrics.R2Score, or no batch of one",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(37)
    rng = np.random.default_rng(37)
    x = rng.normal(size=(481, 6)).astype("float32")
    y = (x[:, :1] - 2.0 * x[:, 1:2] + 0.1 * rng.normal(size=(481, 1))).astype("float32")

    def r2(y_true, y_pred):
        error = ops.mean(ops.square(y_pred - y_true), axis=0)
        return ops.mean(1.0 - error / ops.var(y_true, axis=0))

    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    metric = keras.metrics.R2Score(name="r2") if fixed else r2
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=[metric])
    return model.fit(
        x[:320],
        y[:320],
        validation_data=(x[320:], y[320:]),
        batch_size=32,
        epochs=6,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping("val_r2", mode="max", patience=5),
            *([NanWatch(logs)] if logs else []),
        ],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
