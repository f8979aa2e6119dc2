"""Estimating where joints are in an image; of some images a joint was not labelled.

Source: DeepLabCut/DeepLabCut, issue 62: the loss is infinite or NaN with one's own data set.
Reason: where a body part cannot be seen it is not labelled, and its place is NaN in the table
that is trained on. Answer: leave such joints out (here by a weight of 0 and a place of 0).
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 9,
    "operation": None,
    "line_text": None,
    "causes": ["nonfinite_data"],
    "never": ["learning_rate", "loss_domain", "layer_domain", "label_range"],
    "fix": "leave out joints without a label",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(47)
    rng = np.random.default_rng(47)
    place = rng.uniform(2.0, 14.0, (480, 3, 2))
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1)
    away = ((grid[None, :, :, None] - place[:, None, None]) ** 2).sum(-1)
    image = np.exp(-away / 4.0).astype("float32")
    joints = (place / 16.0).astype("float32")
    joints[rng.integers(150, 480, 12), 2] = np.nan  # the left hand, behind the back
    seen = np.isfinite(joints).all(axis=(1, 2)).astype("float32")
    if fixed:
        joints = np.nan_to_num(joints)
    else:
        seen[:] = 1.0
    data = tf.data.Dataset.from_tensor_slices((image, joints.reshape(-1, 6), seen))
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(6),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), "huber")
    return model.fit(
        data.batch(16),
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
