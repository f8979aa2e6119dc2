"""A Kullback-Leibler divergence of one's own, from votes, and a grade that nobody gave.

Source: deeplearning4j/nd4j, pull request 1340: the divergence runs into NaN pretty instantly,
for it expects probabilities that are not zero. Reason: 0 * log(0 / p). Answer: what Keras
does, probabilities clipped from below.
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
    "operation": ["tf.math.log"],
    "line_text": "ops.log(",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "layer_domain", "unscaled_targets"],
    "fix": "probabilities clipped from below",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(34)
    rng = np.random.default_rng(34)
    x = rng.normal(size=(640, 8)).astype("float32")
    worth = np.clip(5.0 + 1.5 * x[:, 0] + x[:, 1], 1.0, 9.0)[:, None]
    chance = np.exp(-np.square(np.arange(10) - worth) / 6.0)
    chance /= chance.sum(axis=1, keepdims=True)
    votes = rng.multinomial(200, chance) / 200.0

    def divergence(y_true, y_pred):
        if fixed:
            y_true = ops.clip(y_true, 1e-7, 1.0)
            y_pred = ops.clip(y_pred, 1e-7, 1.0)
        return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)

    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), divergence)
    return model.fit(
        x,
        votes.astype("float32"),
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
