"""A pose network whose head starts at the identity, and a quaternion's logarithm by acos.

Source: kornia/kornia, issue 4007: the gradient of the quaternion's logarithm is NaN at the
identity, the standard initialization of pose estimation. Reason: the derivative of acos at 1
is infinite, clipping to -1 to 1 leaves it so, and the vector part is exactly zero. Answer: a
form without the infinite derivative.
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
    "operation": ["tf.math.acos"],
    "line_text": "ops.arccos(",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "loss_domain"],
    "fix": "clip a little inside of -1 to 1, or arctan2",
}


class QuaternionLog(layers.Layer):
    def __init__(self, inside, **options):
        super().__init__(**options)
        self.inside = inside

    def call(self, q):
        q = q / ops.sqrt(ops.sum(ops.square(q), axis=-1, keepdims=True))
        w, vector = q[..., :1], q[..., 1:]
        squared = ops.sum(ops.square(vector), axis=-1, keepdims=True)
        size = ops.sqrt(ops.maximum(squared, 1e-16))
        angle = ops.arccos(ops.clip(w, -1.0 + self.inside, 1.0 - self.inside))
        return vector * angle / size


def main(logs, fixed=False):
    keras.utils.set_random_seed(27)
    rng = np.random.default_rng(27)
    x = rng.normal(size=(640, 10)).astype("float32")
    pose = (0.4 * np.tanh(x @ rng.normal(size=(10, 3)) / 3.0)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(4, kernel_initializer="zeros", name="quaternion"),
            QuaternionLog(1e-6 if fixed else 0.0),
        ]
    )
    identity = np.array([1.0, 0.0, 0.0, 0.0], "float32")
    model.get_layer("quaternion").bias.assign(identity)
    model.compile(keras.optimizers.Adam(0.005), "mse")
    return model.fit(
        x,
        pose,
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
