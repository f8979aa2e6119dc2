"""Attention over words, its softmax written out with the mask, and a text without words.

Source: the attention layer that was passed on under Keras, issue 4962, and in many notebooks
since (Hsankesara/DeepResearch, issue 8, quotes its comment: the sum may be nearly zero, and
this results in NaN). Reason: a text of padding alone has no weight that is not masked, and
0 / 0 is NaN. Answer: an epsilon in the denominator, or no empty texts.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 7,
    "operation": ["tf.math.divide"],
    "line_text": "weight = weight / ",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "loss_domain"],
    "fix": "an epsilon in the denominator, or no empty texts",
}


class WordAttention(layers.Layer):
    def __init__(self, epsilon, **options):
        super().__init__(**options)
        self.supports_masking = True
        self.epsilon = epsilon

    def build(self, shape):
        self.direction = self.add_weight(shape=(shape[-1], 1), name="direction")

    def call(self, x, mask=None):
        weight = ops.exp(ops.tanh(ops.matmul(x, self.direction)))
        if mask is not None:
            weight = weight * ops.cast(mask, weight.dtype)[..., None]
        weight = weight / (ops.sum(weight, axis=1, keepdims=True) + self.epsilon)
        return ops.sum(weight * x, axis=1)

    def compute_mask(self, x, mask=None):
        return None


def main(logs, fixed=False):
    keras.utils.set_random_seed(20)
    rng = np.random.default_rng(20)
    text = rng.integers(1, 50, (480, 12)) * (
        np.arange(12) < rng.integers(2, 13, 480)[:, None]
    )
    text[240] = 0
    label = (text[:, :2].max(axis=1, keepdims=True) > 35).astype("float32")
    words = keras.Input((12,), dtype="int32")
    x = layers.Embedding(50, 16, mask_zero=True)(words)
    x = WordAttention(1e-7 if fixed else 0.0)(x)
    model = keras.Model(words, layers.Dense(1, activation="sigmoid")(x))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model.fit(
        text,
        label,
        batch_size=32,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
