"""A generative adversarial network for one number, with two optimizers and plain logarithms.

Source: AYLIEN/gan-intro, pull request 10: NaN now and then, for the discriminator's output
can be 0 to rounding, and its logarithm is taken. Reason: a discriminator that is sure of
itself. Answer: log(max(x, 1e-5)).
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.log"],
    "line_text": "tf.math.log(",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "unscaled_inputs", "label_range", "layer_domain"],
    "fix": "a lower bound inside the logarithms, or logits",
}


class Gan(keras.Model):
    def __init__(self, least):
        super().__init__()
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.least = least
        self.generator = keras.Sequential(
            [
                keras.Input((1,)),
                layers.Dense(8, activation="softplus", kernel_initializer=normal),
                layers.Dense(1, kernel_initializer=normal),
            ]
        )
        self.discriminator = keras.Sequential(
            [
                keras.Input((1,)),
                layers.Dense(16, activation="relu", kernel_initializer=normal),
                layers.Dense(16, activation="relu", kernel_initializer=normal),
                layers.Dense(16, activation="relu", kernel_initializer=normal),
                layers.Dense(1, activation="sigmoid", kernel_initializer=normal),
            ]
        )

    def compile(self, rate):
        super().compile()
        self.for_generator = keras.optimizers.Adam(rate)
        self.for_discriminator = keras.optimizers.Adam(rate)

    def log(self, x):
        return tf.math.log(tf.maximum(x, self.least) if self.least else x)

    def train_step(self, real):
        noise = tf.linspace(-8.0, 8.0, 32)[:, None] + tf.random.uniform((32, 1))
        with tf.GradientTape() as tape:
            true, false = (
                self.discriminator(real),
                self.discriminator(self.generator(noise)),
            )
            loss = tf.reduce_mean(-self.log(true) - self.log(1.0 - false))
        weights = self.discriminator.trainable_variables
        self.for_discriminator.apply(tape.gradient(loss, weights), weights)
        with tf.GradientTape() as tape:
            false = self.discriminator(self.generator(noise))
            deceit = tf.reduce_mean(-self.log(false))
        weights = self.generator.trainable_variables
        self.for_generator.apply(tape.gradient(deceit, weights), weights)
        return {"loss": loss, "deceit": deceit}

    def call(self, noise):
        return self.generator(noise)


def main(logs, fixed=False):
    keras.utils.set_random_seed(31)
    rng = np.random.default_rng(31)
    real = rng.normal(4.0, 0.5, (3200, 1)).astype("float32")
    model = Gan(1e-5 if fixed else 0.0)
    model.compile(0.001)
    return model.fit(
        real,
        batch_size=32,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
