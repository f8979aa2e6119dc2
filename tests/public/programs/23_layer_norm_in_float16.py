"""A layer normalization of one's own, its epsilon 1e-12 as in BERT, under mixed_float16.

Source: TensorFlow, pull request 24979: the layer normalization's epsilon of 1e-12 causes NaN
in float16 where the variance is small, which is one reason of the NaN seen when BERT is
trained so. Reason: in float16 1e-12 is 0, and so is a small variance. Answer: an epsilon that
float16 can hold (1e-3), or float32 for this layer.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost", "diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.rsqrt"],
    "line_text": "ops.rsqrt(",
    "causes": ["half_precision"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "loss_domain"],
    "fix": "an epsilon of 1e-3, or this layer in float32",
}


class LayerNorm(layers.Layer):
    def __init__(self, epsilon, **options):
        super().__init__(**options)
        self.epsilon = epsilon

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.offset = self.add_weight(shape=(shape[-1],), initializer="zeros")

    def call(self, x):
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        inverse = ops.rsqrt(variance + ops.cast(self.epsilon, x.dtype))
        return centred * inverse * self.scale + self.offset


def main(logs, fixed=False):
    keras.utils.set_random_seed(23)
    keras.mixed_precision.set_global_policy("mixed_float16")
    rng = np.random.default_rng(23)
    length = rng.integers(3, 17, (480, 1))
    text = rng.integers(1, 60, (480, 16)) * (np.arange(16) < length)
    label = (text[:, :3].max(axis=1, keepdims=True) > 45).astype("float32")
    words = keras.Input((16,), dtype="int32")
    x = layers.Embedding(60, 32, embeddings_initializer="normal")(words)
    x = x * ops.cast(ops.not_equal(words, 0), "float16")[..., None]
    x = LayerNorm(1e-3, dtype="float32")(x) if fixed else LayerNorm(1e-12)(x)
    x = layers.GlobalMaxPooling1D()(layers.Dense(32, activation="relu")(x))
    x = layers.Dense(1)(x)
    model = keras.Model(words, layers.Activation("sigmoid", dtype="float32")(x))
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy")
    return model.fit(
        text,
        label,
        batch_size=32,
        epochs=4,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
