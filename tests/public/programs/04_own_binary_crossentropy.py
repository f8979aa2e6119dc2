"""The textbook's binary cross-entropy, written out as a custom loss.

Source: Stack Overflow, question 48951109: after a few iterations the loss is NaN, though the
last layer is a sigmoid, whose output "should be between 0 and 1". Reason: in float32 a
sigmoid is exactly 1 (or 0) once its argument is large enough, and 0 * log(0) is NaN. Answer:
the form that computes from logits, or clipped predictions.
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
    "operation": ["tf.math.log"],
    "line_text": "* ops.log(",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "label_range", "unscaled_targets"],
    "fix": "clip the predictions, or compute the loss from logits",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(4)
    rng = np.random.default_rng(4)
    y = (rng.random((960, 1)) < 0.5).astype("float32")
    x = (rng.normal(size=(960, 10)) + 5.0 * y).astype("float32")

    def my_loss(y_true, y_pred):
        if fixed:
            y_pred = ops.clip(y_pred, 1e-7, 1.0 - 1e-7)
        positive = y_true * ops.log(y_pred)
        negative = (1.0 - y_true) * ops.log(1.0 - y_pred)
        return -ops.mean(positive + negative)

    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), my_loss)
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=8,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
