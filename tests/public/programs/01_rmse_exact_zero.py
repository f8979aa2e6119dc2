"""A root mean squared error of one's own, on rain: many days have none at all.

Source: Keras, issue 6644 (https://github.com/keras-team/keras/issues/6644), a question about
a custom loss: the loss is ordinary for some iterations and is NaN from then on. Reason, as
told under many such questions: the derivative of a square root at zero is infinite, and one
prediction that is exactly right, here a ReLU's zero for a dry day, multiplies it by zero.
Answer: a small number inside the root.
"""

import sys

import keras
import numpy as np
from keras import ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 3,
    "operation": ["tf.math.sqrt"],
    "line_text": "return ops.sqrt(ops.mean(",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "unscaled_targets"],
    "fix": "a small number inside the square root",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    weather = rng.normal(size=(960, 6)).astype("float32")
    rain = np.maximum(weather[:, :1] + 0.5 * weather[:, 1:2] - 0.2, 0.0)
    guard = 1e-6 if fixed else 0.0

    def root_mean_squared_error(y_true, y_pred):
        return ops.sqrt(ops.mean(ops.square(y_pred - y_true), axis=-1) + guard)

    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(1, activation="relu", bias_initializer="ones"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), root_mean_squared_error)
    return model.fit(
        weather,
        rain,
        batch_size=32,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
