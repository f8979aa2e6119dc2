"""A recurrent cell with exponential gates, after xLSTM's scalar LSTM, over long sequences.

Source: muditbhargava66/PyxLSTM, issue 15: gradients explode very easily (issue 27: output is
NaN). Reason: the cell state and its normalizer are multiplied by an exponential at every step
of the sequence, without the stabilizer state of the paper. Answer: the stabilizer, a running
maximum of the gates' logarithms that is taken off before the exponential.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 60,
    "operation": ["tf.math.multiply"],
    "line_text": "forget *",
    "causes": ["layer_domain", "gradient_amplification"],
    "never": ["nonfinite_data", "loss_domain", "label_range", "unscaled_inputs"],
    "fix": "the stabilizer state of the paper",
}


class ScalarCell(layers.Layer):
    def __init__(self, units, stable, **options):
        super().__init__(**options)
        self.units, self.stable = units, stable
        self.state_size = [units] * 4
        self.gates = layers.Dense(4 * units)

    def build(self, shape):
        self.gates.build((None, shape[-1] + self.units))

    def call(self, x, states):
        out, cell, usual, most = states
        gates = self.gates(ops.concatenate([x, out], axis=-1))
        value, enter, forget, leave = ops.split(gates, 4, axis=-1)
        forget += 0.5  # begins open, as the paper has it
        if self.stable:
            new = ops.maximum(forget + most, enter)
            forget, enter, most = forget + most - new, enter - new, new
        forget, enter = ops.exp(forget), ops.exp(enter)
        usual = forget * usual + enter
        cell = forget * cell + enter * ops.tanh(value)
        out = ops.sigmoid(leave) * cell / usual
        return out, [out, cell, usual, most]


def main(logs, fixed=False):
    keras.utils.set_random_seed(51)
    rng = np.random.default_rng(51)
    x = rng.normal(size=(480, 120, 2)).astype("float32")
    x[..., 1] = np.arange(120) < rng.integers(10, 120, (480, 1))
    y = (x[..., 0] * x[..., 1]).sum(axis=1, keepdims=True) / 8.0
    model = keras.Sequential(
        [
            keras.Input((120, 2)),
            layers.RNN(ScalarCell(16, fixed)),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model.fit(
        x,
        y.astype("float32"),
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
