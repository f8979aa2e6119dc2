"""A count autoencoder with a negative binomial likelihood, whose mean is a softmax of the decoder.

Source: cellarium-ai/cellarium-ml, pull request 215 (and OmicsML/dance, issue 166): NaN in the
negative binomial's likelihood. Reason: a mean of 0, as of a cell whose counts are all 0, of which
the logarithm is taken: 0 times minus infinity. Answer: a small number added to the mean.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 4,
    "operation": ["tf.math.log"],
    "line_text": "ops.log(mean + small)",
    "chain": ["got the argument 0"],
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "layer_domain", "half_precision"],
    "fix": "a small number added to the mean",
}


def likelihood(small):
    def loss(y_true, y_pred):
        spread = 2.0
        depth = ops.sum(y_true, axis=-1, keepdims=True)
        mean = depth * y_pred
        told = y_true * (ops.log(mean + small) - ops.log(mean + spread))
        told += spread * (np.log(spread) - ops.log(mean + spread))
        return -ops.sum(told, axis=-1)

    return loss


def main(logs, fixed=False):
    keras.utils.set_random_seed(64)
    rng = np.random.default_rng(64)
    kind = rng.integers(0, 3, 512)
    rate = rng.lognormal(0.0, 2.0, (3, 60)) * (rng.uniform(size=(3, 60)) < 0.6)
    counts = rng.poisson(5.0 * rate[kind]).astype("float32")
    counts[rng.choice(512, 4, replace=False)] = 0.0  # cells in which nothing was counted
    model = keras.Sequential(
        [
            keras.Input((60,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(8),
            layers.Dense(64, activation="relu"),
            layers.Dense(60, activation="softmax"),
        ]
    )
    small = 1e-8 if fixed else 0.0
    model.compile(keras.optimizers.Adam(0.01), likelihood(small))
    return model.fit(
        np.log1p(counts),
        counts.astype("float32"),
        batch_size=32,
        epochs=10,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
