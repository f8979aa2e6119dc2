"""A layer that appends the batch's standard deviation, and a last batch of one example.

Source: TensorFlow, issue 56830: the gradient of tf.math.reduce_std is NaN for one element,
where the deviation is always 0; the same is told of PyTorch (issue 4320) and JAX (11716) for
constant values. Reason: the derivative of the square root at 0. Answer: the root of the
variance plus a small number.
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 10,
    "operation": ["tf.math.reduce_std", "tf.math.sqrt"],
    "line_text": "tf.math.reduce_std(",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "loss_domain"],
    "fix": "the root of the variance plus a small number",
}


class BatchDeviation(layers.Layer):
    def __init__(self, safe, **options):
        super().__init__(**options)
        self.safe = safe

    def call(self, x):
        if self.safe:
            spread = tf.sqrt(tf.math.reduce_variance(x, axis=0, keepdims=True) + 1e-8)
        else:
            spread = tf.math.reduce_std(x, axis=0, keepdims=True)
        return tf.concat([x, tf.repeat(spread, tf.shape(x)[0], axis=0)], axis=1)


def main(logs, fixed=False):
    keras.utils.set_random_seed(36)
    rng = np.random.default_rng(36)
    x = rng.normal(size=(321, 8)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] > 0.0).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(8, activation="tanh"),
            BatchDeviation(fixed),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
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
