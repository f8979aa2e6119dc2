"""A conditional normalizing flow, trained through its reverse direction as well.

Source: andreas128/SRFlow, issue 2: NaN in training, only in the reverse direction. Reason, as
a reader tracked it down: the affine couplings divide by a scale between 0 and 1; where it is
small in one layer what goes on becomes larger in each further one, until it is infinite.
Answer: none is given but that it lies there; here the scale is kept above a half.
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
    "operation": ["tf.math.divide"],
    "line_text": "changed / scale",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "label_range", "unscaled_inputs", "unscaled_targets"],
    "fix": "a scale that is kept away from 0",
}


class ReverseCoupling(layers.Layer):
    def __init__(self, least, **options):
        super().__init__(**options)
        self.least = least
        self.inner = layers.Dense(32, activation="relu")
        self.outer = layers.Dense(8)

    def build(self, shape):
        self.inner.build((None, 4 + shape[1][-1]))
        self.outer.build((None, 32))

    def call(self, inputs):
        z, condition = inputs
        kept, changed = ops.split(z, 2, axis=-1)
        features = self.inner(ops.concatenate([kept, condition], axis=-1))
        shift, scale = ops.split(self.outer(features), 2, axis=-1)
        scale = self.least + (1.0 - self.least) * ops.sigmoid(scale)
        return ops.concatenate([changed / scale - shift, kept], axis=-1)


def main(logs, fixed=False):
    keras.utils.set_random_seed(48)
    rng = np.random.default_rng(48)
    sharp = np.cumsum(rng.normal(size=(960, 8)), axis=1).astype("float32")
    sharp /= sharp.std()
    blurred = sharp.reshape(-1, 4, 2).mean(axis=2)
    latent = 0.8 * rng.normal(size=(960, 8)).astype("float32")
    z, condition = keras.Input((8,)), keras.Input((4,))
    x = z
    for _ in range(6):
        x = ReverseCoupling(0.5 if fixed else 0.0)([x, condition])
    model = keras.Model([z, condition], x)
    model.compile(keras.optimizers.Adam(0.002), "mae")
    return model.fit(
        [latent, blurred],
        sharp,
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
