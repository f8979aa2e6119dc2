"""Super-resolution of signals, all of Keras in float16, Adam with its default epsilon.

Source: Keras, issue 11832 (EDSR in float16): the loss falls for about ten batches, rises, and
is infinite and NaN then; in float32 the same network converges. Reason: in float16 the square
of a small gradient is 0 and so nearly is an epsilon of 1e-7, by which Adam divides. Answer:
an epsilon of 1e-4, or mixed precision, which keeps variables in float32.
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
    "operation": None,
    "line_text": None,
    "causes": ["half_precision", "optimizer_settings"],
    "never": ["nonfinite_data", "loss_domain", "unscaled_inputs", "label_range"],
    "fix": "mixed precision (or float32), or an epsilon of 1e-4 in Adam",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(22)
    if not fixed:
        keras.config.set_floatx("float16")
    rng = np.random.default_rng(22)
    at = np.linspace(0, 6, 32) * rng.uniform(0.5, 2, (512, 1)) + rng.uniform(
        0, 6, (512, 1)
    )
    fine = np.sin(at)[..., None].astype("float32")
    coarse = fine[:, ::2]
    inputs = keras.Input((16, 1))
    x = layers.Conv1D(32, 3, padding="same")(inputs)
    for _ in range(3):
        y = layers.Conv1D(32, 3, padding="same", activation="relu")(x)
        x = layers.Add()([x, layers.Conv1D(32, 3, padding="same")(y)])
    x = layers.UpSampling1D(2)(x)
    model = keras.Model(inputs, layers.Conv1D(1, 3, padding="same")(x))
    model.compile(keras.optimizers.Adam(0.001), "mae")
    return model.fit(
        coarse,
        fine,
        batch_size=16,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
