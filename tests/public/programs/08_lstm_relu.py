"""Long sequences, two LSTM layers with activation="relu", binary labels.

Source: Keras, issues 2194 and 13221; AlexanderVNikitin/tsgm, issue 59: NaN within a few
batches, the sooner the more layers; the same network with tanh, or with a learning rate a
hundred times lower, has none. Reason: without a bound a state that feeds back on itself
grows from time step to time step, and is multiplied hundreds of times. Answer: tanh.
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["gradient_amplification", "learning_rate"],
    "never": ["nonfinite_data", "label_range", "loss_domain", "unscaled_targets"],
    "fix": "tanh in the LSTM layers",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(8)
    rng = np.random.default_rng(8)
    x = rng.normal(size=(256, 320, 8)).astype("float32")
    y = (x[:, :, 0].mean(axis=1, keepdims=True) > 0).astype("float32")
    activation = "tanh" if fixed else "relu"
    model = keras.Sequential(
        [
            keras.Input((320, 8)),
            layers.LSTM(32, activation=activation, return_sequences=True),
            layers.LSTM(16, activation=activation),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=4,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
