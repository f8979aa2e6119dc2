"""A focal loss of one's own with gamma = 0.5, and an epsilon inside its logarithm.

Source: mkocabas/focal-loss-keras, issues 5 and 17 (the same is told of kornia, issue 918):
the loss turns to NaN after an epoch, an epsilon in the logarithms is enough for a gamma of 1
or 2, but below 1 it turns to NaN again. Reason: the power (1 - p) ** gamma has an infinite
derivative where a prediction is exactly 1. Answer: clip the predictions on both sides.
"""

import sys

import keras
import numpy as np
from keras import ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": None,
    "operation": ["tf.math.pow"],
    "line_text": "ops.power(1.0 - right, gamma)",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "label_range", "unscaled_targets"],
    "fix": "clip the predictions to epsilon ... 1 - epsilon before the power",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    label = (rng.random((1280, 1)) < 0.2).astype("float32")
    x = (rng.normal(size=(1280, 8)) + 5.0 * label).astype("float32")
    epsilon, gamma = 1e-7, 0.5

    def focal_loss(y_true, y_pred):
        if fixed:
            y_pred = ops.clip(y_pred, epsilon, 1.0 - epsilon)
        right = ops.where(y_true == 1.0, y_pred, 1.0 - y_pred)
        weight = ops.where(y_true == 1.0, 0.25, 0.75)
        focus = ops.power(1.0 - right, gamma)
        return ops.mean(-weight * focus * ops.log(right + epsilon), axis=-1)

    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), focal_loss)
    return model.fit(
        x,
        label,
        batch_size=32,
        epochs=8,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
