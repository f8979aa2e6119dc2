"""Kinds of training that people make: models, ways of building them, and options.

Each is small, and made anew for each training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.writing.faults import two_replicas

L = keras.layers


def data(n: int = 96, inputs: int = 6, outputs: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, inputs)).astype("float32")
    return x, rng.normal(size=(n, outputs)).astype("float32")


def sequential(optimizer: Any = "adam", lazy: bool = False, **options: Any) -> Any:
    model = keras.Sequential(
        [
            *([] if lazy else [keras.Input((6,))]),
            L.Dense(8, activation="relu", name="a"),
            L.Dropout(0.2),
            L.Dense(1, name="b"),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


def functional_ops() -> Any:
    x = keras.Input((6,))
    h = keras.ops.sqrt(keras.ops.abs(L.Dense(8)(x)) + 1.0)
    model = keras.Model(x, L.Dense(1)(h))
    model.compile("adam", "mse")
    return model


def nested() -> Any:
    inner = keras.Sequential(
        [L.Dense(8, name="one"), L.Dense(4, name="two")], name="inner"
    )
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(1)(inner(x)))
    model.compile("adam", "mse")
    return model


def shared() -> Any:
    x = keras.Input((6,))
    twice = L.Dense(6, name="twice")
    model = keras.Model(x, L.Dense(1)(twice(twice(x))))
    model.compile("adam", "mse")
    return model


class Subclassed(keras.Model):
    """Built at the first batch; layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [L.Dense(8), L.Dense(4)]
        self.out = L.Dense(1)

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


class Parts(keras.Layer):
    """A layer whose output is a dict with a tuple and a None."""

    def __init__(self) -> None:
        super().__init__(name="parts")
        self.dense = L.Dense(4)

    def call(self, x: Any) -> Any:
        h = self.dense(x)
        return {"pair": (h, h + 1.0), "nothing": None}


class OddOutputs(Subclassed):
    """With an odd output in between."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = Parts()

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        first, second = self.parts(x)["pair"]
        return self.out(first + second)


def odd_outputs() -> Any:
    model = OddOutputs()
    model.compile("adam", "mse")
    return model


def subclassed() -> Any:
    model = Subclassed()
    model.compile("adam", "mse")
    return model


class OwnStep(Subclassed):
    """A training step of its own."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        return {"loss": loss}


def own_step() -> Any:
    model = OwnStep()
    model.compile("adam", "mse")
    return model


class OwnLoss(Subclassed):
    """A loss of its own."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return tf.reduce_mean(tf.abs(y - y_pred))


def own_loss() -> Any:
    model = OwnLoss()
    model.compile("adam")
    return model


def several_losses() -> Any:
    x = keras.Input((6,))
    h = L.Dense(8)(x)
    model = keras.Model(x, [L.Dense(1, name="p")(h), L.Dense(1, name="q")(h)])
    model.compile("adam", ["mse", "mae"], loss_weights=[1.0, 0.5])
    return model


def added_losses() -> Any:
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, kernel_regularizer="l2", activity_regularizer="l1"),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def recurrent() -> Any:
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            L.Masking(),
            L.LSTM(4, return_sequences=True),
            L.TimeDistributed(L.Dense(3)),
            L.GRU(3),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def embedded() -> Any:
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(9, 3), L.Flatten(), L.Dense(1)]
    )
    model.compile("sgd", "mse")
    return model


def normalised() -> Any:
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8), L.BatchNormalization(), L.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def frozen() -> Any:
    model = sequential()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    return model


def half(policy: str) -> Callable[[], Any]:
    def build() -> Any:
        keras.config.set_dtype_policy(policy)
        return sequential()

    return build


def mirrored() -> Any:
    with two_replicas().scope():
        return sequential()


def sequences() -> tuple[Any, Any]:
    x, y = data()
    return x.reshape(96, 3, 2), y


def words() -> tuple[Any, Any]:
    x, y = data()
    return (np.abs(x) * 3).astype("int32") % 9, y


def two_labels() -> tuple[Any, Any]:
    x, y = data()
    return x, [y, y]


def unknown_length(x: Any, y: Any) -> Any:
    def pairs() -> Any:
        yield from zip(x, y, strict=True)

    spec = (tf.TensorSpec((6,), tf.float32), tf.TensorSpec((1,), tf.float32))
    return tf.data.Dataset.from_generator(pairs, output_signature=spec).batch(32)


