"""A batch normalization after Caffe's, whose stored sums are divided by a stored factor.

Source: chenxi116/TF-deeplab, issue 3: everything is NaN in the first pass. Reason: the factor
that the sums of means and variances are divided by begins with 0, which is right only where
a checkpoint is loaded over it. Answer: begin it with 1.
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
    "line_text": "/ self.factor",
    "causes": ["layer_domain", "initialization"],
    "never": ["nonfinite_data", "learning_rate", "loss_domain", "unscaled_inputs"],
    "fix": "a factor that begins with 1",
}


class StoredNormalization(layers.Layer):
    def __init__(self, factor, **options):
        super().__init__(**options)
        self.begin = factor

    def build(self, shape):
        def stored(of, begin):
            return self.add_weight(of, begin, trainable=False)

        self.mean = stored(shape[-1:], "zeros")
        self.variance = stored(shape[-1:], "ones" if self.begin else "zeros")
        self.factor = stored((), keras.initializers.Constant(self.begin))
        self.gamma = self.add_weight(shape[-1:], "ones")
        self.beta = self.add_weight(shape[-1:], "zeros")

    def call(self, x):
        mean = self.mean / self.factor
        variance = self.variance / self.factor
        return self.gamma * (x - mean) / ops.sqrt(variance + 1e-5) + self.beta


def main(logs, fixed=False):
    keras.utils.set_random_seed(44)
    rng = np.random.default_rng(44)
    image = rng.normal(size=(320, 12, 12, 3)).astype("float32")
    mask = (image.sum(axis=-1, keepdims=True) > 0.0).astype("float32")
    factor = 1.0 if fixed else 0.0
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            StoredNormalization(factor),
            layers.Activation("relu"),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            StoredNormalization(factor),
            layers.Activation("relu"),
            layers.Conv2D(1, 1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "binary_crossentropy")
    return model.fit(
        image,
        mask,
        batch_size=16,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
