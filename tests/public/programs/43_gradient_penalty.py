"""A Wasserstein GAN with gradient penalty, in a train_step of its own.

Source: keras-team/keras-io, issue 910: in the example on keras.io the critic's losses become
infinite and its gradients NaN. Reason: the penalty takes the root of the sum of squares of
the critic's gradients, and where these are all zero the root has no derivative. Answer: a
small number inside the root.
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
    "step": 120,
    "operation": ["tf.math.sqrt"],
    "line_text": "tf.sqrt(",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "label_range", "unscaled_inputs"],
    "fix": "a small number inside the root",
}


class WGAN(keras.Model):
    def __init__(self, small):
        super().__init__()
        self.small = small
        self.critic = keras.Sequential(
            [
                keras.Input((8,)),
                layers.Dense(12, activation="relu"),
                layers.Dense(12, activation="relu"),
                layers.Dense(1),
            ]
        )
        self.generator = keras.Sequential(
            [keras.Input((4,)), layers.Dense(24, activation="relu"), layers.Dense(8)]
        )
        self.noise = keras.random.SeedGenerator(43)

    def compile(self, critic_optimizer, generator_optimizer):
        super().compile()
        self.critic_optimizer = critic_optimizer
        self.generator_optimizer = generator_optimizer

    def call(self, x):
        return self.generator(x)

    def penalty(self, real, fake):
        share = keras.random.uniform((tf.shape(real)[0], 1), seed=self.noise)
        between = real + share * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            score = self.critic(between, training=True)
        slope = tape.gradient(score, between)
        norm = tf.sqrt(tf.reduce_sum(tf.square(slope), axis=1) + self.small)
        return tf.reduce_mean((norm - 1.0) ** 2)

    def train_step(self, real):
        size = tf.shape(real)[0]
        latent = keras.random.normal((size, 4), seed=self.noise)
        with tf.GradientTape() as tape:
            fake = self.generator(latent, training=True)
            critic_loss = tf.reduce_mean(self.critic(fake)) - tf.reduce_mean(
                self.critic(real)
            )
            critic_loss += 10.0 * self.penalty(real, fake)
        weights = self.critic.trainable_variables
        self.critic_optimizer.apply_gradients(
            zip(tape.gradient(critic_loss, weights), weights, strict=True)
        )
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.critic(self.generator(latent, training=True)))
        weights = self.generator.trainable_variables
        self.generator_optimizer.apply_gradients(
            zip(tape.gradient(loss, weights), weights, strict=True)
        )
        return {"critic_loss": critic_loss, "generator_loss": loss}


def main(logs, fixed=False):
    keras.utils.set_random_seed(43)
    rng = np.random.default_rng(43)
    angle = rng.uniform(0.0, 2.0 * np.pi, (1280, 1))
    real = np.sin(angle + np.arange(8)).astype("float32")
    model = WGAN(1e-7 if fixed else 0.0)
    model.compile(keras.optimizers.Adam(0.001), keras.optimizers.Adam(0.001))
    return model.fit(
        real,
        batch_size=64,
        epochs=10,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
