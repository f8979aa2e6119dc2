"""A regression on sensor values with Mish written out, x * tanh(log(1 + exp(x))).

Source: hunglc007/tensorflow-yolov4-tflite, issue 1, and tracel-ai/burn, issue 5373: above 88 the
exponential overflows. Reason: the output is right even so, since tanh of infinity is 1, but the
derivative is NaN. Answer: softplus, which knows large numbers.
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
    "operation": ["tf.math.exp"],
    "line_text": "ops.exp(x)",
    "causes": ["layer_domain", "unscaled_inputs"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "label_range"],
    "fix": "softplus",
}


def mish(x):
    return x * ops.tanh(ops.log(1.0 + ops.exp(x)))


def mish_of_softplus(x):
    return x * ops.tanh(ops.softplus(x))


def main(logs, fixed=False):
    keras.utils.set_random_seed(60)
    rng = np.random.default_rng(60)
    x = rng.normal(50.0, 30.0, size=(640, 12)).astype("float32")
    y = (np.abs(x[:, :1] - 50.0) / 30.0).astype("float32")
    activation = mish_of_softplus if fixed else mish
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(48, activation=activation),
            layers.Dense(24, activation=activation),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
