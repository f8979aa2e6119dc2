"""A detector's box loss, the logarithm of the box's size over the anchor's, and a thin box.

Source: qqwweee/keras-yolo3, issues 121 and 171: after a few steps the loss is infinite, then
NaN, with one's own pictures. Reason: a box that is thin in the original picture has no width
any more once the picture is made smaller, and the logarithm of that is minus infinity; the
switch that masks cells without an object does not help, for there is an object. Answer: a
small number inside the logarithm, or leave such boxes out.
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
    "operation": ["tf.math.log"],
    "line_text": "ops.log(",
    "causes": ["loss_domain", "label_range"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_targets", "unscaled_inputs"],
    "fix": "a small number inside the logarithm, or leave boxes without width out",
}
ANCHOR = 8.0


def boxes(rng, n):
    """Returns pictures (n, 32, 32, 1) and cells (n, 4, 4, 3): object, width, height."""
    pictures = rng.normal(0, 0.1, (n, 32, 32, 1)).astype("float32")
    cells = np.zeros((n, 4, 4, 3), "float32")
    for i in range(n):
        row, column = rng.integers(0, 4, 2)
        width, height = rng.integers(26, 104, 2)  # of a picture of 416 by 416
        if i == 101:
            width = 9
        width, height = width * 32 // 416, height * 32 // 416
        top, left = 8 * row, 8 * column
        pictures[i, top : top + height, left : left + width] += 1.0
        cells[i, row, column] = 1.0, width, height
    return pictures, cells


def main(logs, fixed=False):
    keras.utils.set_random_seed(5)
    pictures, cells = boxes(np.random.default_rng(5), 320)
    small = 1e-3 if fixed else 0.0

    def box_loss(y_true, y_pred):
        there = y_true[..., :1]
        size = ops.log(y_true[..., 1:] / ANCHOR + small)
        size = ops.where(there > 0.0, size, ops.zeros_like(size))
        confidence = ops.binary_crossentropy(there, y_pred[..., :1], from_logits=True)
        return ops.mean(confidence) + ops.mean(there * ops.square(size - y_pred[..., 1:]))

    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(3, 1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), box_loss)
    return model.fit(
        pictures,
        cells,
        batch_size=16,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
