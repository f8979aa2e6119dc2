"""A layer with a learnt power of a spectrogram, and silence.

Source: tensorflow/mesh, issue 6: the gradient of pow is unstable, it is easy to get NaN where
x is close to 0. Reason: with an exponent below 1 the derivative at 0 is infinite, and what
it is multiplied by is 0. Answer: a small number added to the base.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 5,
    "operation": ["tf.math.pow"],
    "line_text": "ops.power(",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "loss_domain"],
    "fix": "a small number added to the base",
}


class Compression(layers.Layer):
    def __init__(self, small, **options):
        super().__init__(**options)
        self.small = small

    def build(self, shape):
        half = keras.initializers.Constant(0.5)
        self.exponent = self.add_weight(shape=(shape[-1],), initializer=half)

    def call(self, x):
        return ops.power(x + self.small, self.exponent)


def main(logs, fixed=False):
    keras.utils.set_random_seed(32)
    rng = np.random.default_rng(32)
    energy = rng.gamma(2.0, 1.0, (480, 10, 8)).astype("float32")
    loud = energy[:, :, :4].mean(axis=(1, 2)) > energy[:, :, 4:].mean(axis=(1, 2))
    energy[170, 6:] = 0.0  # a recording that ends early
    model = keras.Sequential(
        [
            keras.Input((10, 8)),
            layers.Dense(8, use_bias=False, kernel_constraint="non_neg", name="bands"),
            Compression(1e-6 if fixed else 0.0),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.get_layer("bands").kernel.assign(np.eye(8, dtype="float32") + 0.1)
    model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy")
    return model.fit(
        energy,
        loud.astype("float32")[:, None],
        batch_size=32,
        epochs=6,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
