"""A small convolutional classifier that ends in a relu, with Keras' categorical cross-entropy.

Source: Keras, issue 12096: a model whose last layer is Dense(2, activation="relu") does not
learn. Reason: the loss wants probabilities, it divides by their sum, and here all may be 0, which
is 0 / 0 today. Answer: a softmax.
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 1,
    "operation": ["tf.math.divide"],
    "line_text": None,
    "chain": ["denominator 0"],
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "label_range", "layer_domain"],
    "fix": "a softmax as the last activation",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(65)
    rng = np.random.default_rng(65)
    kind = rng.integers(0, 2, 320)
    image = rng.uniform(size=(320, 16, 16, 1)).astype("float32")
    image[kind == 1, 4:8] += 0.5
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax" if fixed else "relu"),
        ]
    )
    model.compile("adam", "categorical_crossentropy")
    return model.fit(
        image,
        np.eye(2, dtype="float32")[kind],
        batch_size=16,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
