"""Counts, Keras' Poisson loss, and a last layer without an activation.

Source: Keras, issues 590 and 18886: with the Poisson loss the loss is NaN from the first
epoch, whereas others work. Reason: the loss takes the logarithm of the prediction, and a
linear layer's may be negative. Answer: an exponential or softplus as last activation.
"""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.log"],
    "line_text": None,
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "unscaled_targets"],
    "fix": "predictions that are positive: softplus or exponential as last activation",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(800, 5)).astype("float32")
    claims = rng.poisson(np.exp(0.4 * x[:, :1] - 0.2 * x[:, 1:2])).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1, activation="softplus" if fixed else None),
        ]
    )
    model.compile("adam", "poisson")
    return model.fit(
        x,
        claims,
        batch_size=32,
        epochs=5,
        validation_split=0.1,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
