"""A variational autoencoder of a table, whose encoder's log variance has no bounds.

Source: vanderschaarlab/synthcity, issue 331: NaN losses for some data sets and settings.
Reason: the exponential of the encoder's unbounded log variance explodes, in the
reparameterization and in the divergence. Answer: clamp the log variance (to -30 to 20 in
Hugging Face's diffusers).
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["layer_domain", "outlier_data"],
    "never": ["nonfinite_data", "label_range", "metric_domain"],
    "fix": "clamp the log variance",
}


class Sampling(layers.Layer):
    def __init__(self, clamp, **options):
        super().__init__(**options)
        self.clamp = clamp
        self.noise = keras.random.SeedGenerator(24)

    def call(self, x):
        mean, log_variance = ops.split(x, 2, axis=-1)
        if self.clamp:
            log_variance = ops.clip(log_variance, -30.0, 20.0)
        divergence = 1.0 + log_variance - ops.square(mean) - ops.exp(log_variance)
        self.add_loss(-0.05 * ops.mean(ops.sum(divergence, axis=-1)))
        noise = keras.random.normal(ops.shape(mean), seed=self.noise)
        return mean + ops.exp(0.5 * log_variance) * noise


def main(logs, fixed=False):
    keras.utils.set_random_seed(24)
    rng = np.random.default_rng(24)
    x = rng.normal(size=(1600, 12))
    x[:, 6:] = np.exp(1.8 * (x[:, 6:] + x[:, :6]))  # incomes, durations, counts
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
    x = ((x - middle) / (high - low)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(8),
            Sampling(fixed),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(12),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), "mse")
    return model.fit(
        x,
        x,
        batch_size=32,
        epochs=4,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
