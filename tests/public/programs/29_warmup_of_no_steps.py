"""A learning rate that warms up linearly, and a warm-up of no steps.

Source: mlcommons/hpc, pull request 27: the scheduler gives a learning rate of NaN if no
warm-up is used. Reason: the step is divided by the number of warm-up steps, and 0 / 0 is NaN.
Answer: any number of warm-up steps is allowed, 0 among them.
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
    "operation": None,
    "line_text": None,
    "causes": ["learning_rate", "optimizer_settings"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "unscaled_inputs"],
    "fix": "a schedule that does not divide by a warm-up of 0 steps",
}


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, peak, warmup_steps):
        self.peak, self.warmup_steps = peak, warmup_steps

    def __call__(self, step):
        done = ops.cast(step, "float32") / ops.cast(self.warmup_steps, "float32")
        return self.peak * ops.minimum(done, 1.0)

    def get_config(self):
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


def main(logs, fixed=False):
    keras.utils.set_random_seed(29)
    rng = np.random.default_rng(29)
    x = rng.normal(size=(640, 12, 12, 2)).astype("float32")
    storm = (x[:, :6].mean(axis=(1, 2, 3)) > x[:, 6:].mean(axis=(1, 2, 3))) * 1.0
    model = keras.Sequential(
        [
            keras.Input((12, 12, 2)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    rate = WarmUp(0.003, 1 if fixed else 0)
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy")
    return model.fit(
        x,
        storm[:, None].astype("float32"),
        batch_size=32,
        epochs=4,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
