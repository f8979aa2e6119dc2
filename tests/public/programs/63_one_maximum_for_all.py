"""A softmax of one's own that takes off the batch's maximum, not that of each row.

Source: manassharma07/crysx_nn, issue 7: NaN in the loss with small batches. Reason: the largest
logit of the whole batch is taken off, so that all exponentials of another row may be 0, and 0 is
divided by 0. Answer: each row's own maximum.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 121,
    "operation": ["tf.math.divide"],
    "line_text": "each / ops.sum(each",
    "chain": ["denominator 0", "tf.math.reduce_sum"],
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "label_range"],
    "fix": "each row's own maximum",
}


class Softmax(layers.Layer):
    def __init__(self, axis, **options):
        super().__init__(**options)
        self.axis = axis

    def call(self, x):
        each = ops.exp(x - ops.max(x, axis=self.axis, keepdims=True))
        return each / ops.sum(each, axis=-1, keepdims=True)


def main(logs, fixed=False):
    keras.utils.set_random_seed(63)
    rng = np.random.default_rng(63)
    x = rng.normal(size=(640, 20)).astype("float32")
    x *= rng.lognormal(0.0, 1.0, (640, 1)).astype("float32")  # some are large
    y = x[:, :6].argmax(axis=1)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(6),
            Softmax(-1 if fixed else None),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.03, momentum=0.9), "sparse_categorical_crossentropy"
    )
    return model.fit(
        x,
        y,
        batch_size=16,
        epochs=6,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
