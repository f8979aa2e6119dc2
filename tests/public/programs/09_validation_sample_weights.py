"""Validation data with sample weights, one over how often a class is seen in training.

Source: Keras, issues 6627 and 7917: val_loss is NaN, and only that, when sample weights are
passed for the validation data; with weights of 1 it is not. The threads end without one
reason; the weights themselves are the only thing that differs. Here they are infinite where
a class of the validation data is not in the training data (val_loss is then infinite; NaN
where such an example's loss is 0). Answer: finite weights.
"""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": "validation",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["nonfinite_data"],
    "never": ["learning_rate", "loss_domain", "unscaled_inputs", "label_range"],
    "fix": "finite sample weights: count each class once at least",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(9)
    rng = np.random.default_rng(9)
    centres = rng.normal(0, 2, (6, 4))
    kind = rng.choice(6, 800, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    kind[:640][kind[:640] == 5], kind[700] = 0, 5  # rare: in the validation data alone
    x = (centres[kind] + rng.normal(size=(800, 4))).astype("float32")
    count = np.bincount(kind[:640], minlength=6)
    with np.errstate(divide="ignore"):
        weight = 640.0 / np.maximum(count, 1) if fixed else 640.0 / count
    weights = (weight / 6.0)[kind].astype("float32")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(6, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model.fit(
        x[:640],
        kind[:640],
        sample_weight=weights[:640],
        validation_data=(x[640:], kind[640:], weights[640:]),
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
