"""A classifier of padded sequences under mixed_float16, its padding hidden by a large number.

Source: NVIDIA/apex, issue 93: gradients are always NaN with half precision, fine in float32.
Reason: the mask's -1e15 is below -65504 and becomes minus infinity in float16 (and 0 times
that is NaN, where the mask is added as a product). Answer: a number that float16 holds, or
the masking in float32.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["stalled", "score_lost", "diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.multiply"],
    "line_text": "* self.hidden",
    "causes": ["half_precision"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "label_range"],
    "fix": "a mask of -1e4, which float16 holds; the masking in float32",
}


class Pooling(layers.Layer):
    """The mean over a sequence, weighted by attention to what is no padding."""

    def __init__(self, hidden, **options):
        super().__init__(**options)
        self.hidden = hidden
        self.score = layers.Dense(1)

    def build(self, shape):
        self.score.build(shape[0])

    def call(self, inputs):
        x, padding = inputs
        scores = self.score(x)[..., 0] + padding * self.hidden
        weights = ops.softmax(scores, axis=-1)
        return ops.sum(x * weights[..., None], axis=1)


def main(logs, fixed=False):
    keras.utils.set_random_seed(42)
    keras.mixed_precision.set_global_policy("mixed_float16")
    rng = np.random.default_rng(42)
    tokens = rng.integers(1, 50, (640, 12))
    length = rng.integers(3, 13, 640)
    padding = (np.arange(12) >= length[:, None]).astype("float32")
    tokens[padding > 0] = 0
    label = ((tokens > 0) & (tokens < 5)).any(axis=1).astype("float32")
    words, empty = keras.Input((12,)), keras.Input((12,))
    x = layers.Embedding(50, 16)(words)
    x = layers.Dense(16, activation="relu")(x)
    x = Pooling(-1e4 if fixed else -1e15)([x, empty])
    out = layers.Dense(1, activation="sigmoid", dtype="float32")(x)
    model = keras.Model([words, empty], out)
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model.fit(
        [tokens, padding],
        label,
        batch_size=32,
        epochs=3,
        validation_split=0.2,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
