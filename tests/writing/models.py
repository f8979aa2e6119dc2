"""The campaign's models: small, of every kind, with injectors everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tests.writing.faults import (
    Faults,
    FaultyLoss,
    FaultyMetric,
    layer,
    optimizer,
)

L = keras.layers


@dataclass
class Kind:
    """One kind of model.

    Attributes:
        build: makes and compiles it; takes the faults and what `compile` also takes.
        inputs, labels: shapes of one example, one or by key.
        words: the inputs are integers below this number, 0 for real numbers.
        weighted: whether it takes sample weights.
        loss_name: name of the total loss's probe where it is injected.
    """

    build: Callable[..., Any]
    inputs: Any
    labels: Any
    words: int = 0
    weighted: bool = True


def _compile(model: Any, faults: Faults, **options: Any) -> Any:
    name = model.output_names[0] if getattr(model, "output_names", None) else "output"
    model.compile(
        optimizer(faults),
        FaultyLoss(faults, name),
        metrics=[FaultyMetric(faults, "error")],
        **options,
    )
    return model


def mlp(faults: Faults, **options: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layer(L.Dense, faults, "first", 8, activation="relu"),
            L.Dropout(0.2, seed=1),
            layer(L.Dense, faults, "second", 5),
            layer(L.Dense, faults, "last", 2),
        ]
    )
    return _compile(model, faults, **options)


def conv(faults: Faults, **options: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layer(L.Conv2D, faults, "conv", 3, 3),
            layer(L.BatchNormalization, faults, "norm"),
            layer(L.ReLU, faults, "relu"),
            layer(L.Flatten, faults, "flat"),
            layer(L.Dense, faults, "last", 2),
        ]
    )
    return _compile(model, faults, **options)


def recurrent(faults: Faults, **options: Any) -> Any:
    faults.layers["each"] = each = L.TimeDistributed(L.Dense(3), name="each")
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            layer(L.LSTM, faults, "lstm", 4, return_sequences=True),
            each,
            layer(L.GRU, faults, "gru", 3),
            layer(L.Dense, faults, "last", 2),
        ]
    )
    return _compile(model, faults, **options)


def transformer(faults: Faults, **options: Any) -> Any:
    words = keras.Input((6,), dtype="int32")
    x = layer(L.Embedding, faults, "words", 11, 4)(words)
    attended = layer(L.MultiHeadAttention, faults, "attend", 2, 2)(x, x)
    x = layer(L.LayerNormalization, faults, "norm_1")(x + attended)
    dense = layer(L.Dense, faults, "wide", 8, activation="gelu")(x)
    x = x + layer(L.Dense, faults, "narrow", 4)(dense)
    x = layer(L.LayerNormalization, faults, "norm_2")(x)
    x = layer(L.GlobalAveragePooling1D, faults, "pool")(x)
    model = keras.Model(words, layer(L.Dense, faults, "last", 2)(x))
    return _compile(model, faults, **options)


def several(faults: Faults, **options: Any) -> Any:
    a, b = keras.Input((6,), name="a"), keras.Input((3,), name="b")
    x = layer(L.Dense, faults, "left", 4)(a)
    y = layer(L.Dense, faults, "right", 4)(b)
    both = layer(L.Concatenate, faults, "both")([x, y])
    outputs = {
        "one": layer(L.Dense, faults, "one", 2)(both),
        "two": layer(L.Dense, faults, "two", 3)(keras.ops.tanh(both)),
    }
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile(
        optimizer(faults),
        {"one": FaultyLoss(faults, "one"), "two": FaultyLoss(faults, "two")},
        metrics={
            "one": FaultyMetric(faults, "error", "one_"),
            "two": FaultyMetric(faults, "error", "two_"),
        },
        **options,
    )
    return model


def nested(faults: Faults, **options: Any) -> Any:
    inner = keras.Sequential(
        [
            keras.Input((6,)),
            layer(L.Dense, faults, "inner/first", 5),
            layer(L.BatchNormalization, faults, "inner/norm"),
        ],
        name="inner",
    )
    inputs = keras.Input((6,))
    x = layer(L.Dense, faults, "outer", 4)(inner(inputs))
    model = keras.Model(inputs, layer(L.Dense, faults, "last", 2)(x))
    return _compile(model, faults, **options)


def shared(faults: Faults, **options: Any) -> Any:
    inputs = keras.Input((6,))
    dense = layer(L.Dense, faults, "shared", 6, activation="tanh")
    x = dense(dense(dense(inputs)))
    model = keras.Model(inputs, layer(L.Dense, faults, "last", 2)(x))
    return _compile(model, faults, **options)


class Subclassed(keras.Model):
    """Layers in a list, an output of its own, and a total loss that can go bad."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self.blocks = [
            layer(L.Dense, faults, "block_0", 5, activation="relu"),
            layer(L.Dense, faults, "block_1", 4),
        ]
        self.last = layer(L.Dense, faults, "last", 2)

    def call(self, inputs: Any, training: bool = False) -> Any:
        for block in self.blocks:
            inputs = block(inputs)
        return self._faults("prediction", "prediction", self.last(inputs) * 2.0)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        return self._faults("loss", "total", loss)


def subclassed(faults: Faults, **options: Any) -> Any:
    model = Subclassed(faults)
    model.compile(
        optimizer(faults), "mse", metrics=[FaultyMetric(faults, "error")], **options
    )
    return model


class OwnStep(keras.Model):
    """Overrides `train_step` and `test_step`, and knows no compiled loss."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self.first = layer(L.Dense, faults, "first", 5, activation="relu")
        self.last = layer(L.Dense, faults, "last", 2)
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.error = FaultyMetric(faults, "error")

    def call(self, inputs: Any) -> Any:
        return self.last(self.first(inputs))

    @property
    def metrics(self) -> list[Any]:
        return [self.mean_loss, self.error]

    def _loss(self, x: Any, y: Any) -> tuple[Any, Any]:
        predicted = self(x, training=True)
        return predicted, tf.reduce_mean(tf.square(predicted - y))

    def _logs(self, y: Any, predicted: Any, loss: Any) -> dict[str, Any]:
        self.error.update_state(y, predicted)
        shown = self._faults("loss", "loss", loss, late=True)
        return {"loss": shown, "error": self.error.result()}

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            predicted, loss = self._loss(x, y)
        gradients = tape.gradient(loss, self.trainable_variables)
        pairs = zip(gradients, self.trainable_variables, strict=True)
        self.optimizer.apply_gradients(pairs)
        return self._logs(y, predicted, loss)

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        return self._logs(y, *self._loss(x, y))


def own_step(faults: Faults, **options: Any) -> Any:
    model = OwnStep(faults)
    model.compile(optimizer(faults), **options)
    return model


KINDS = {
    "mlp": Kind(mlp, (6,), (2,)),
    "conv": Kind(conv, (6, 6, 2), (2,)),
    "recurrent": Kind(recurrent, (5, 3), (2,)),
    "transformer": Kind(transformer, (6,), (2,), words=11),
    "several": Kind(several, {"a": (6,), "b": (3,)}, {"one": (2,), "two": (3,)}),
    "nested": Kind(nested, (6,), (2,)),
    "shared": Kind(shared, (6,), (2,)),
    "subclassed": Kind(subclassed, (6,), (2,)),
    "own_step": Kind(own_step, (6,), (2,), weighted=False),
}
