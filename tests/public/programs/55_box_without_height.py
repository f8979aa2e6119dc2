"""A detector's box loss with the aspect ratio of CIoU, padded with boxes of size 0.

Source: pythonlessons/TensorFlow-2.x-YOLOv3, issue 144 (and a review of tensorflow/addons, pull
request 914): the CIoU loss is NaN. Reason: width is divided by height, which is 0 for cells
without an object; masking afterwards does not help, 0 times NaN is NaN. Answer: a small number
in the denominator.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.divide"],
    "line_text": "/ (y_true[..., 3]",
    "chain": ["denominator 0", "label"],
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "layer_domain"],
    "fix": "a small number in the denominator",
}


def box_loss(small):
    def loss(y_true, y_pred):
        there = ops.cast(y_true[..., 2] > 0.0, "float32")
        center = ops.sum(ops.square(y_true[..., :2] - y_pred[..., :2]), axis=-1)
        size = ops.sum(ops.square(y_true[..., 2:] - y_pred[..., 2:]), axis=-1)
        ratio = y_true[..., 2] / (y_true[..., 3] + small)
        guess = y_pred[..., 2] / (y_pred[..., 3] + 1e-3)
        aspect = ops.square(ops.arctan(ratio) - ops.arctan(guess)) * 4.0 / np.pi**2
        return ops.sum(there * (center + size + aspect), axis=-1)

    return loss


def main(logs, fixed=False):
    keras.utils.set_random_seed(55)
    rng = np.random.default_rng(55)
    image = rng.uniform(size=(480, 16, 16, 1)).astype("float32")
    boxes = np.zeros((480, 3, 4), "float32")
    for i, count in enumerate(rng.integers(1, 4, 480)):
        boxes[i, :count] = rng.uniform(0.1, 0.9, (count, 4))
        image[i, ..., 0] += boxes[i, 0, 0]
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(8, 3, 2, activation="relu"),
            layers.Conv2D(16, 3, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(12, activation="sigmoid"),
            layers.Reshape((3, 4)),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), box_loss(1e-6 if fixed else 0.0))
    return model.fit(
        image,
        boxes,
        batch_size=16,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
