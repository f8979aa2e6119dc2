"""The angle of a box's aspect ratio, w / max(h, 1e-16), inside a model in mixed_float16.

Source: Megvii-BaseDetection/YOLOX, issue 1565: the CIoU loss is NaN, although its denominators
are clamped to 1e-16. Answer there: turn float16 off. Reason: in float16 1e-16 is 0, and so is the
height where a relu makes it: 0 / 0.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["stalled", "score_lost"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.divide"],
    "line_text": "width / ops.maximum(",
    "chain": ["denominator 0"],
    "causes": ["half_precision"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "inherited"],
    "fix": "float32, or a least height that float16 can tell from 0",
}


class Angle(layers.Layer):
    def call(self, box):
        width, height = ops.split(box, 2, axis=-1)
        return ops.arctan(width / ops.maximum(height, 1e-16))


def main(logs, fixed=False):
    keras.utils.set_random_seed(58)
    if not fixed:
        keras.config.set_dtype_policy("mixed_float16")
    rng = np.random.default_rng(58)
    image = rng.uniform(size=(640, 24)).astype("float32")
    y = np.arctan(image[:, :1] / (image[:, 1:2] + 0.1)).astype("float32")
    try:
        model = keras.Sequential(
            [
                keras.Input((24,)),
                layers.Dense(32, activation="relu"),
                layers.Dense(16, activation="relu"),
                Angle(),
                layers.Dense(1, dtype="float32"),
            ]
        )
        model.compile("adam", "mse")
        return model.fit(
            image,
            y,
            batch_size=32,
            epochs=5,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        ).history
    finally:
        keras.config.set_dtype_policy("float32")


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
