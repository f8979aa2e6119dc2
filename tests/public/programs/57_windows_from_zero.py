"""Windows of a trading volume as changes against their first value, for an LSTM.

Source: jaungiers/LSTM-Neural-Network-for-Time-Series-Prediction, issue 66 (with pandas or NumPy
it is no error but an infinity): many values are 0, and each window is divided by its first.
Answer: a small number, or leave the column as it is.
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
    "causes": ["nonfinite_data"],
    "never": ["learning_rate", "unscaled_inputs", "layer_domain", "loss_domain"],
    "fix": "find the infinite inputs; divide by no 0",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(57)
    rng = np.random.default_rng(57)
    price = 100.0 + np.cumsum(rng.normal(size=700))
    volume = np.where(rng.uniform(size=700) < 0.05, 0.0, rng.lognormal(size=700))
    series = np.stack([price, volume], axis=1)
    windows = np.stack([series[i : i + 21] for i in range(640)])
    first = windows[:, :1]
    if fixed:
        first = np.where(first == 0.0, 1.0, first)
    with np.errstate(all="ignore"):
        windows = (windows / first - 1.0).astype("float32")
    model = keras.Sequential(
        [keras.Input((20, 2)), layers.LSTM(16), layers.Dense(1, activation="linear")]
    )
    model.compile("adam", "mse")
    return model.fit(
        windows[:, :-1],
        windows[:, -1, :1],
        batch_size=32,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
