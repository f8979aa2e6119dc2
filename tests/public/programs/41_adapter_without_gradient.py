"""A small adapter beside a frozen layer, trained by an optimizer of one's own, FAdam.

Source: lessw2020/FAdam_PyTorch, issue 1: the optimizer makes NaN where a gradient is zero.
Reason: its epsilon is scaled by the gradient's root mean square, at most 1, so that a gradient
of zeros is divided by 0. Answer: scale it by no less than 1 (max for min). Here the adapter's
second matrix begins with zeros, as usual, and the first one's gradient is zero at first.
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
    "operation": ["tf.math.divide"],
    "line_text": "gradient / (",
    "causes": ["optimizer_settings"],
    "never": ["nonfinite_data", "unscaled_inputs", "loss_domain", "initialization"],
    "fix": "an epsilon that a gradient of zeros does not make 0",
}


class FAdam(keras.optimizers.Optimizer):
    """Adam with the gradient divided by the root of the Fisher information's diagonal."""

    def __init__(self, learning_rate, bound):
        super().__init__(learning_rate, name="fadam")
        self.bound = bound

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.fisher = [self.add_variable_from_reference(v, "fisher") for v in variables]
        self.moment = [self.add_variable_from_reference(v, "moment") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        fisher, moment = self.fisher[index], self.moment[index]
        fisher.assign(0.99 * fisher + 0.01 * ops.square(gradient))
        size = ops.sqrt(ops.mean(ops.square(gradient)))
        epsilon = 1e-8 * self.bound(1.0, size)
        natural = gradient / (ops.sqrt(fisher) + epsilon)
        natural /= ops.maximum(1.0, ops.sqrt(ops.mean(ops.square(natural))))
        moment.assign(0.9 * moment + 0.1 * natural)
        variable.assign_sub(learning_rate * moment)


class Adapter(layers.Layer):
    def build(self, shape):
        self.down = self.add_weight((shape[-1], 4), "glorot_uniform", name="down")
        self.up = self.add_weight((4, shape[-1]), "zeros", name="up")

    def call(self, x):
        return x + ops.matmul(ops.matmul(x, self.down), self.up)


def main(logs, fixed=False):
    keras.utils.set_random_seed(41)
    rng = np.random.default_rng(41)
    x = rng.normal(size=(640, 12)).astype("float32")
    y = (np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(32, activation="tanh", trainable=False),
            Adapter(),
            layers.Dense(32, activation="tanh"),
            layers.Dense(1),
        ]
    )
    model.compile(FAdam(0.01, ops.maximum if fixed else ops.minimum), "mse")
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
