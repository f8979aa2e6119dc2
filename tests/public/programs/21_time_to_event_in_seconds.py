"""Time to the next event as a discrete Weibull distribution, with times in seconds.

Source: ragulpr/wtte-rnn, issues 33 and 39: the loss is NaN or infinite. Reason: the loss
takes the logarithm of exp(h1 - h0) - 1, the hazards one unit of time apart, and where these
are the same to float32 (a beta near 0, or times of millions of units) it is log(0). Answer:
an epsilon inside the logarithm; units in which times are of ordinary size.
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
    "line_text": "ops.log(ops.exp(",
    "causes": ["loss_domain", "unscaled_targets"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "layer_domain"],
    "fix": "an epsilon inside the logarithm; times in days",
}
DAY = 86400.0


def main(logs, fixed=False):
    keras.utils.set_random_seed(21)
    rng = np.random.default_rng(21)
    visits = rng.normal(size=(480, 10, 3)).astype("float32")
    days = 30.0 * np.exp(0.5 * visits[:, -1, 0]) * rng.weibull(1.5, 480) + 0.5
    seen = (days < 90.0).astype("float32")
    time = np.minimum(days, 90.0) * (1.0 if fixed else DAY)
    target = np.stack([np.floor(time), seen], axis=1).astype("float32")
    usual = float(target[:, 0].mean())
    epsilon = 1e-6 if fixed else 0.0

    def weibull_loss(y_true, y_pred):
        time, seen = y_true[:, 0], y_true[:, 1]
        alpha, beta = y_pred[:, 0], y_pred[:, 1]
        before = ops.power((time + 1e-6) / alpha, beta)
        after = ops.power((time + 1.0) / alpha, beta)
        likelihood = seen * ops.log(ops.exp(after - before) - 1.0 + epsilon) - after
        return -likelihood

    history = keras.Input((10, 3))
    x = layers.GRU(8)(history)
    alpha = usual * ops.exp(layers.Dense(1)(x))
    beta = ops.softplus(layers.Dense(1)(x))
    model = keras.Model(history, ops.concatenate([alpha, beta], axis=-1))
    model.compile(keras.optimizers.Adam(0.01), weibull_loss)
    return model.fit(
        visits,
        target,
        batch_size=32,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
