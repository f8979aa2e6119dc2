"""A mean squared logarithmic error of one's own, and a linear last layer.

Source: timeseriesAI/tsai, issue 150: targets from 0.001 to 1000, a loss of one's own with
log(prediction + 1), very unstable, and NaN after a few epochs. Reason: a prediction below -1
has no such logarithm. Answer: predictions that are not negative (or the logarithm of the
targets, and a plain squared error).
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.log"],
    "line_text": "ops.log(y_pred + 1.0)",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "layer_domain", "label_range", "half_precision"],
    "fix": "no predictions below zero",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(30)
    rng = np.random.default_rng(30)
    x = rng.normal(size=(960, 24, 2)).astype("float32")
    y = np.exp(3.0 * x[:, -6:, 0].mean(axis=1, keepdims=True) + x[:, -1:, 1])
    y = np.clip(y, 0.001, 1000.0).astype("float32")

    def logarithmic(y_true, y_pred):
        if fixed:
            y_pred = ops.maximum(y_pred, 0.0)
        return ops.mean(ops.square(ops.log(y_pred + 1.0) - ops.log(y_true + 1.0)), -1)

    model = keras.Sequential(
        [
            keras.Input((24, 2)),
            layers.Conv1D(16, 3, activation="relu", kernel_initializer="he_normal"),
            layers.Flatten(),
            layers.Dense(32, activation="relu", kernel_initializer="he_normal"),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), logarithmic)
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=6,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
