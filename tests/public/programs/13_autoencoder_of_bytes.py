"""A convolutional autoencoder of pictures as they come from the file: 0 to 255.

Source: a comment on Keras, issue 6644 (a stack of convolutions and LeakyReLU whose loss is
ordinary for a second, then infinite, then NaN), and what UMLAUT names first of all: images
that were not scaled. Reason: inputs and targets are 255 times what the initial weights and
the learning rate are made for. Answer: divide by 255.
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 2,
    "operation": None,
    "line_text": None,
    "causes": ["unscaled_data", "unscaled_inputs", "unscaled_targets"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "label_range"],
    "fix": "pictures divided by 255",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(13)
    rng = np.random.default_rng(13)
    row, column = np.mgrid[:16, :16]
    phase = rng.uniform(0, 6, (256, 2, 1, 1))
    waves = np.sin(row / 2 + phase[:, 0]) * np.cos(column / 3 + phase[:, 1])
    pictures = (127.5 * (1.0 + waves))[..., None].astype("uint8").astype("float32")
    if fixed:
        pictures /= 255.0
    model = keras.Sequential([keras.Input((16, 16, 1))])
    for filters, strides in ((16, 2), (16, 1), (8, 2)):
        model.add(layers.Conv2D(filters, 3, strides=strides, padding="same"))
        model.add(layers.LeakyReLU())
    for filters in (16, 16):
        model.add(layers.Conv2DTranspose(filters, 3, strides=2, padding="same"))
        model.add(layers.LeakyReLU())
    model.add(layers.Conv2D(1, 3, padding="same"))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    return model.fit(
        pictures,
        pictures,
        batch_size=32,
        epochs=6,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
