"""Segmentation, the last layer's bias set after how frequent classes are, and one never seen.

Source: perslev/MultiPlanarUNet, issue 24: weights and losses are NaN from the start. Reason,
as the author finds: classes are counted in ten images, one class is in none of them, and the
bias is made from the logarithm of its frequency, 0, and then divided by its norm. Answer: do
not set the bias so (or count each class once at least).
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": None,
    "line_text": None,
    "causes": ["initialization", "inherited"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "label_range"],
    "fix": "a finite bias: count each class once at least",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(38)
    rng = np.random.default_rng(38)
    image = rng.normal(size=(160, 12, 12, 1)).astype("float32")
    mask = np.digitize(image[..., 0], [-0.5, 0.8])
    mask[40:44, 5:7, 5:7] = 3  # rare
    image[40:44, 5:7, 5:7] += 5.0
    count = np.bincount(mask[:10].ravel(), minlength=4)
    frequency = (np.maximum(count, 1) if fixed else count) / count.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.log(frequency * np.exp(frequency).sum())
        bias /= np.linalg.norm(bias)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Conv2D(4, 1, activation="softmax", name="classes"),
        ]
    )
    kernel, _ = model.get_layer("classes").get_weights()
    model.get_layer("classes").set_weights([kernel, bias])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model.fit(
        image,
        mask,
        batch_size=16,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
