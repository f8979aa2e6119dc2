"""A layer of one's own: a learnt multiple of log(x) where x is positive, and zero elsewhere.

Source: TensorFlow, issues 2540, 20091, 27684 and 38349: values are all finite, and the
gradient is NaN. Reason: tf.where takes the gradient of both of its sides, and 0 times the
NaN of the side that was not taken is NaN. Answer: a second where, inside the logarithm.
"""

import sys

import keras
import numpy as np
from keras import ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.log"],
    "line_text": "ops.log(",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "loss_domain"],
    "fix": "a second where, inside the logarithm",
}


class LogOfPositive(keras.layers.Layer):
    def __init__(self, safe, **options):
        super().__init__(**options)
        self.safe = safe

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        positive = x > 0.0
        inside = ops.where(positive, x, ops.ones_like(x)) if self.safe else x
        curve = self.scale * ops.log(inside)
        return ops.where(positive, curve, ops.zeros_like(x))


def main(logs, fixed=False):
    keras.utils.set_random_seed(17)
    rng = np.random.default_rng(17)
    x = rng.normal(size=(640, 6)).astype("float32")
    y = np.tanh(x[:, :1]) + 0.5 * x[:, 1:2]
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16),
            LogOfPositive(fixed),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
