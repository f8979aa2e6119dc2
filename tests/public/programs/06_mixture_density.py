"""A mixture density network for a pose of 36 numbers, with its likelihood written out.

Source: Keras, issues 1061 and 2586: after ten to twenty batches the loss is infinite, then
NaN. Reason: the density of a component is more or less than float32 can hold. In the reports
it is 0, and its logarithm minus infinity; here a power of the spread is infinite first, which
the density forgets (one over infinity is 0) and the power's derivative does not. Answer: add
up the logarithms (log-sum-exp).
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
    "operation": ["tf.math.pow"],
    "line_text": "ops.power(spread",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "label_range"],
    "fix": "log-sum-exp of the components' log densities",
}
PARTS, NUMBERS = 5, 36


def main(logs, fixed=False):
    keras.utils.set_random_seed(6)
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1280, 6)).astype("float32")
    pose = np.tanh(x @ rng.normal(size=(6, NUMBERS))) + 0.1 * rng.normal(
        size=(1280, NUMBERS)
    )
    pose *= rng.choice([-1.0, 1.0], (1280, 1))  # either way round
    pose = ((pose - pose.mean(axis=0)) / pose.std(axis=0)).astype("float32")

    def likelihood(y_true, parameters):
        mean, spread, share = ops.split(
            parameters, [PARTS * NUMBERS, PARTS * NUMBERS + PARTS], -1
        )
        mean = ops.reshape(mean, (-1, PARTS, NUMBERS))
        share, spread = ops.softmax(share), ops.exp(spread)
        distance = ops.sum(ops.square(y_true[:, None] - mean), axis=-1)
        exponent = -distance / (2.0 * ops.square(spread))
        if fixed:
            density = ops.log(share + 1e-9) + exponent - NUMBERS * ops.log(spread)
            return -ops.logsumexp(density, axis=-1)
        density = ops.exp(exponent) / ops.power(spread * np.sqrt(2.0 * np.pi), NUMBERS)
        return -ops.log(ops.sum(share * density, axis=-1))

    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(32, activation="tanh"),
            layers.Dense(PARTS * (NUMBERS + 2)),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), likelihood)
    return model.fit(
        x,
        pose,
        batch_size=64,
        epochs=10,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
