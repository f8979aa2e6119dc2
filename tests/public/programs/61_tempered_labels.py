"""A bi-tempered logistic loss whose labels are not probabilities.

Source: google/bi-tempered-loss, issue 13: NaN in training. Reason, as the reporter found in the
end: labels of -1 and 2, of which the loss takes a power; they have to lie between 0 and 1.
Answer: mend the data.
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
    "operation": ["tf.math.pow"],
    "line_text": "ops.power(y_true + 1e-10",
    "chain": ["got the base -1", "label"],
    "causes": ["label_range", "loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "layer_domain"],
    "fix": "labels between 0 and 1",
}


T1 = 0.8


def tempered_log(x):
    return (ops.power(x, 1.0 - T1) - 1.0) / (1.0 - T1)


def tempered_loss(y_true, y_pred):
    own = (ops.power(y_true + 1e-10, 1.0 - T1) - 1.0) / (1.0 - T1)
    other = tempered_log(y_pred + 1e-10)
    rest = (ops.power(y_true, 2.0) - ops.power(y_pred, 2.0 - T1)) / (2.0 - T1)
    return ops.sum(y_true * (own - other) - rest, axis=-1)


def main(logs, fixed=False):
    keras.utils.set_random_seed(61)
    rng = np.random.default_rng(61)
    x = rng.normal(size=(640, 10)).astype("float32")
    y = np.eye(2, dtype="float32")[(x[:, 0] + x[:, 1] > 0.0).astype(int)]
    if not fixed:
        y = 3.0 * y - 1.0
    model = keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), tempered_loss)
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
