"""A policy with a squashed Gaussian, cloned from noisy actions with an entropy term, as in SAC.

Source: philtabor/Actor-Critic-Methods-Paper-To-Code, issue 7: NaN with an action range above 1.
Reason: the correction for the squashing takes the logarithm of 1 - a ** 2 of the action after
it was scaled, which is negative where an action is larger than 1. Answer: take the tanh itself.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.log"],
    "line_text": "ops.log(1.0 - ops.square(",
    "chain": ["got the argument -", "tf.math."],
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "outlier_data"],
    "fix": "the tanh instead of the scaled action in the logarithm",
}


REACH = 2.0


def policy_loss(unscaled):
    def loss(y_true, y_pred):
        mean, spread = ops.split(y_pred, 2, axis=-1)
        spread = ops.exp(ops.clip(spread, -3.0, 1.0))
        raw = mean + spread * ops.sin(57.0 * y_true)  # noise that every run repeats
        action = REACH * ops.tanh(raw)
        inside = ops.tanh(raw) if unscaled else action
        entropy = ops.log(spread) + ops.log(1.0 - ops.square(inside) + 1e-6)
        return ops.mean(ops.square(action - y_true) - 0.1 * entropy, axis=-1)

    return loss


def main(logs, fixed=False):
    keras.utils.set_random_seed(53)
    rng = np.random.default_rng(53)
    x = rng.normal(size=(640, 8)).astype("float32")
    y = (1.5 * np.tanh(x[:, :2] + x[:, 2:4])).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(4),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-4), policy_loss(fixed))
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=4,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
