"""Fine-tuning a convolutional network on images from which only the mean was taken.

Source: kratzert/finetune_alexnet_with_tensorflow, issue 79: images of -128 to 128 (the mean
taken off, and not divided) give bad results, and NaN as soon as the learning rate is above
0.001; divided by 255 they do not. Reason: the scale of the inputs. Answer: scale them, as the
repository's author says as well.
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 3,
    "operation": None,
    "line_text": None,
    "causes": ["unscaled_inputs", "learning_rate"],
    "never": ["nonfinite_data", "loss_domain", "label_range", "layer_domain"],
    "fix": "images divided by 255 (or by their deviation)",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(35)
    rng = np.random.default_rng(35)
    kind = rng.integers(0, 4, 800)
    image = rng.integers(0, 120, (800, 16, 16, 3))
    for one, k in zip(image, kind, strict=True):
        one[8 * (k // 2) :][:8, 8 * (k % 2) :][:, :8] += 100
    image = (image - image.mean(axis=(0, 1, 2))).astype("float32")
    features = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
        ]
    )
    before = keras.Sequential([features, layers.Dense(2)])
    before.compile(
        keras.optimizers.Adam(0.001),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before.fit(image[:320] / 255.0, kind[:320] // 2, epochs=3, verbose=0)
    model = keras.Sequential(
        [features, layers.Dense(64, activation="relu"), layers.Dense(4)]
    )
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model.fit(
        image[320:] / 255.0 if fixed else image[320:],
        kind[320:],
        batch_size=16,
        epochs=10,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
