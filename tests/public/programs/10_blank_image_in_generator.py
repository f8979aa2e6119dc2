"""A generator that standardizes each picture by its own mean and deviation, and a blank one.

Source: Keras, issue 1880 (ImageDataGenerator divided by a deviation of 0), and the same in
vanvalenlab/deepcell-toolbox, pull request 72: NaN in the data, and in everything after.
Reason: a picture of one colour has a deviation of 0, and 0 / 0 is NaN. Answer: a small
number is added to the deviation.
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 9,
    "operation": None,
    "line_text": None,
    "causes": ["nonfinite_data"],
    "never": ["learning_rate", "loss_domain", "layer_domain", "unscaled_inputs"],
    "fix": "no division by a deviation of 0 where the pictures are prepared",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(10)
    rng = np.random.default_rng(10)
    pictures = rng.integers(0, 256, (256, 12, 12, 1)).astype("float32")
    bright = rng.integers(0, 2, 256)
    pictures[bright == 1, 3:9, 3:9] = 250.0
    pictures[150] = 255.0

    def batches():
        while True:
            for start in range(0, 256, 16):
                x = pictures[start : start + 16]
                deviation = x.std(axis=(1, 2, 3), keepdims=True)
                if fixed:
                    deviation = deviation + 1e-7
                x = (x - x.mean(axis=(1, 2, 3), keepdims=True)) / deviation
                yield x, bright[start : start + 16]

    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with np.errstate(invalid="ignore"):
        return model.fit(
            batches(),
            steps_per_epoch=16,
            epochs=3,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
