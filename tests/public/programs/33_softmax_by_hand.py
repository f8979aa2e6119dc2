"""A non-local block after residual ones, over video frames, its softmax written out to save memory.

Source: psychopa4/PFNL, issue 9: the block takes exp(f) and divides by the sum; in some
trainings f becomes so large that its exponential is infinite. Reason: without the maximum
taken off first, float32 ends at exp(88). Answer: the library's softmax.
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
    "operation": ["tf.math.exp"],
    "line_text": "ops.exp(",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "unscaled_inputs", "loss_domain", "label_range"],
    "fix": "ops.softmax, which takes the maximum off first",
}


class NonLocal(layers.Layer):
    def __init__(self, library, **options):
        super().__init__(**options)
        self.library = library
        self.theta, self.phi, self.g = (layers.Dense(32) for _ in range(3))

    def build(self, shape):
        for each in (self.theta, self.phi, self.g):
            each.build(shape)

    def call(self, x):
        f = ops.matmul(self.theta(x), ops.transpose(self.phi(x), (0, 2, 1)))
        if self.library:
            return x + ops.matmul(ops.softmax(f), self.g(x))
        f = ops.exp(f)
        return x + ops.matmul(f / ops.sum(f, axis=-1, keepdims=True), self.g(x))


def main(logs, fixed=False):
    keras.utils.set_random_seed(33)
    rng = np.random.default_rng(33)
    at, speed = rng.uniform(0, 6, (640, 1, 1)), rng.uniform(0.5, 2, (640, 1, 1))
    frame = np.arange(16)[:, None] * speed / 3.0 + at + np.arange(8) / 4.0
    clean = np.sin(frame).astype("float32")
    noisy = (clean + 0.3 * rng.normal(size=clean.shape)).astype("float32")
    inputs = keras.Input((16, 8))
    x = layers.Dense(32)(inputs)
    for _ in range(8):
        y = layers.Dense(32, activation="relu", kernel_initializer="he_normal")(x)
        x = layers.Add()([x, layers.Dense(32)(y)])
    x = NonLocal(fixed)(x)
    x = layers.Dense(32, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(8)(x))
    model.compile(keras.optimizers.Adam(0.003), "mse")
    return model.fit(
        noisy,
        clean,
        batch_size=16,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
