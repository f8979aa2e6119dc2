"""A cosine loss of one's own against the mean vector of a title's words, and a title of none.

Source: poets-ai/elegy, pull request 103: the cosine similarity written as x / norm(x) gives
NaN sometimes, as with targets of [[0, 1], [0, 0]]. Reason: the norm of a zero vector is 0, and
0 / 0 is NaN. Answer: a lower bound of the norm in the denominator.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 6,
    "operation": ["tf.math.divide"],
    "line_text": "y_true = y_true / ",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "layer_domain", "unscaled_inputs"],
    "fix": "a lower bound of the norm, or no titles without words",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(25)
    rng = np.random.default_rng(25)
    vector = rng.normal(size=(40, 12))
    words = rng.poisson(0.15, (480, 40))
    words[np.arange(480), rng.integers(0, 40, 480)] += 1
    words[200] = 0
    title = (words @ vector / np.maximum(words.sum(axis=1, keepdims=True), 1)).astype(
        "float32"
    )
    text = words + rng.poisson(0.1, words.shape)
    small = 1e-7 if fixed else 0.0

    def cosine(y_true, y_pred):
        y_true = y_true / ops.maximum(ops.norm(y_true, axis=-1, keepdims=True), small)
        y_pred = y_pred / ops.maximum(ops.norm(y_pred, axis=-1, keepdims=True), small)
        return 1.0 - ops.sum(y_true * y_pred, axis=-1)

    model = keras.Sequential(
        [keras.Input((40,)), layers.Dense(32, activation="relu"), layers.Dense(12)]
    )
    model.compile(keras.optimizers.Adam(0.01), cosine)
    return model.fit(
        text.astype("float32"),
        title,
        batch_size=32,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
