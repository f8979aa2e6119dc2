"""Proximal policy optimization with a continuous action, in a train_step of its own.

Source: MorvanZhou/Reinforcement-learning-with-tensorflow, issue 163: NaN in simple PPO.
Reason: the loss divides the new policy's density of an action by the old one's, and both are
0 in float32 for an action far from the mean. Answer: an epsilon in the denominator.
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
    "step": 27,
    "operation": ["tf.math.divide"],
    "line_text": "/ (self.density(old, action)",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "label_range", "unscaled_inputs", "initialization"],
    "fix": "an epsilon in the ratio's denominator",
}


def policy():
    state = keras.Input((4,))
    x = layers.Dense(32, activation="relu")(state)
    mean = 2.0 * layers.Dense(1, activation="tanh")(x)
    spread = layers.Dense(1, activation="softplus")(x)
    return keras.Model(state, [mean, spread])


class PPO(keras.Model):
    def __init__(self, small):
        super().__init__()
        self.small = small
        self.new, self.old = policy(), policy()
        self.old.trainable = False
        self.age = self.add_weight((), "zeros", dtype="int32", trainable=False)

    def call(self, state):
        return self.new(state)[0]

    def density(self, of, action):
        mean, spread = of
        away = (action - mean) / spread
        return tf.exp(-0.5 * away**2) / (spread * np.sqrt(2.0 * np.pi))

    def train_step(self, data):
        state, target = data
        action, advantage = target[:, :1], target[:, 1:]
        for old, new in zip(self.old.variables, self.new.variables, strict=True):
            old.assign(tf.where(self.age % 10 == 0, new.value, old.value))
        self.age.assign_add(1)
        old = self.old(state)
        with tf.GradientTape() as tape:
            new = self.new(state)
            ratio = self.density(new, action) / (self.density(old, action) + self.small)
            bounded = tf.clip_by_value(ratio, 0.8, 1.2)
            gain = tf.minimum(ratio * advantage, bounded * advantage)
            loss = -tf.reduce_mean(gain)
        weights = self.new.trainable_variables
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return {"loss": loss}


def main(logs, fixed=False):
    keras.utils.set_random_seed(45)
    rng = np.random.default_rng(45)
    state = rng.normal(size=(960, 4)).astype("float32")
    best = np.tanh(state[:, :1])
    action = np.clip(best + 0.4 * rng.normal(size=(960, 1)), -2.0, 2.0)
    reward = -((action - best) ** 2)
    advantage = (reward - reward.mean()) / reward.std()
    target = np.concatenate([action, advantage], axis=1).astype("float32")
    model = PPO(1e-5 if fixed else 0.0)
    model.compile(keras.optimizers.Adam(0.003))
    return model.fit(
        state,
        target,
        batch_size=32,
        epochs=30,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
