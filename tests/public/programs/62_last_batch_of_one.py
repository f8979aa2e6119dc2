"""A batch normalization of one's own with Bessel's correction, and a last batch of one sample.

Source: torch/nn, pull request 1271, and ben-davidson-6/Gated-SCNN, pull request 9: the running
variance is NaN after a batch of one, and so is all that is predicted later. Reason: the variance
is divided by n - 1. Answer: no correction there, or no such batch.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 20,
    "operation": ["tf.math.divide"],
    "line_text": "/ (count - 1.0)",
    "chain": ["denominator 0"],
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "inherited"],
    "fix": "no division by n - 1 of a batch of one",
}


class Normalization(layers.Layer):
    def __init__(self, least, **options):
        super().__init__(**options)
        self.least = least

    def build(self, shape):
        def stored(begin):
            return self.add_weight(shape[-1:], begin, trainable=False)

        self.mean, self.variance = stored("zeros"), stored("ones")
        self.gamma = self.add_weight(shape[-1:], "ones")

    def call(self, x, training=False):
        if not training:
            return self.gamma * (x - self.mean) / ops.sqrt(self.variance + 1e-3)
        count = ops.cast(ops.shape(x)[0], "float32")
        mean, variance = ops.mean(x, axis=0), ops.var(x, axis=0)
        if self.least:
            count = ops.maximum(count, self.least)
        unbiased = variance * count / (count - 1.0)
        self.mean.assign(0.9 * self.mean + 0.1 * mean)
        self.variance.assign(0.9 * self.variance + 0.1 * unbiased)
        return self.gamma * (x - mean) / ops.sqrt(variance + 1e-3)


def main(logs, fixed=False):
    keras.utils.set_random_seed(62)
    rng = np.random.default_rng(62)
    x = rng.normal(size=(641 + 64, 8)).astype("float32")
    y = (x[:, :1] * x[:, 1:2]).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(32),
            Normalization(2.0 if fixed else 0.0),
            layers.Activation("relu"),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    return model.fit(
        x[:641],
        y[:641],
        batch_size=32,
        epochs=4,
        verbose=0,
        validation_data=(x[641:], y[641:]),
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
