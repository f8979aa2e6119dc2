# SPDX-License-Identifier: Apache-2.0
"""Twelve problems whose frontier is to be found: benchmarks/stability.py.

Every model is small, since a grid of each is trained. They are real ones: what dies does
so by itself, at the values that its optimizer, its precision and its data bring about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

Data = tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, its data and its space.

    Attributes:
        build: of KerasTuner's hp; declares `numbers` and `choices`.
        data: x and y of a seed; 0 to train with, 1 to validate.
        numbers: name, low and high of each, on a log scale; the rate first.
        choices: names and values of the choices.
        batch: rows of a batch.
    """

    build: Callable[[Any], Any]
    data: Callable[[int], Data]
    numbers: tuple[tuple[str, float, float], ...]
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    batch: int = 32


RATE = ("learning_rate", 1e-4, 1e2)
OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
}


def table_data(seed: int) -> Data:
    """Returns 256 rows of four numbers and their noisy sum."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(256, 4)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True) + 0.1 * rng.normal(size=(256, 1))
    return x, y.astype(np.float32)


def demo_data(seed: int) -> Data:
    """Returns 1600 rows as demo/04_wide_search.py makes them."""
    rng = np.random.default_rng(1 + seed)
    x = rng.normal(size=(1600, 10)).astype(np.float32)
    y = 5 + 3 * x[:, 0] - 2 * x[:, 1] + 2 * np.sin(2 * x[:, 2]) * x[:, 3]
    y += rng.normal(scale=0.1, size=len(y))
    return x, y[:, None].astype(np.float32)


def images(seed: int) -> Data:
    """Returns 128 images of 8 x 8 with the brighter half as label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(128, 8, 8, 1)).astype(np.float32)
    bright = x[:, :4].mean((1, 2)) > x[:, 4:].mean((1, 2))
    return x, bright.astype(np.float32)


def series(seed: int) -> Data:
    """Returns 128 series of 12 steps and their sum."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(128, 12, 2)).astype(np.float32)
    return x, x.sum((1, 2))[:, None].astype(np.float32)


def rate(hp: Any, low: float = RATE[1], high: float = RATE[2]) -> Any:
    """Declares the learning rate."""
    return hp.Float("learning_rate", low, high, sampling="log")


def compiled(model: Any, optimizer: Any, loss: Any = "mse") -> Any:
    """Compiles and returns the model."""
    model.compile(optimizer, loss)
    return model


def dense(width: int = 16, inputs: int = 4, dtype: str = "float32", **more: Any) -> Any:
    """Returns a small perceptron."""
    more = {"activation": "relu", **more}
    layers = [
        keras.layers.Dense(width, dtype=dtype, **more),
        keras.layers.Dense(1, dtype=dtype),
    ]
    return keras.Sequential([keras.Input((inputs,), dtype=dtype), *layers])


def least_squares(hp: Any) -> Any:
    """Gradient descent on least squares: it dies above 2 / L."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def demo(hp: Any) -> Any:
    """The demo's data, optimizers and two of its activations."""
    activation = hp.Choice("activation", ["relu", "tanh"])
    optimizer = OPTIMIZERS[hp.Choice("optimizer", list(OPTIMIZERS))]
    model = dense(32, inputs=10, activation=activation)
    return compiled(model, optimizer(rate(hp)))


def with_optimizer(cls: Any) -> Callable[[Any], Any]:
    """Returns a function that builds a perceptron with an optimizer."""
    return lambda hp: compiled(dense(), cls(rate(hp)))


def scaled(hp: Any) -> Any:
    """The scale of the inputs and the rate work together."""
    factor = hp.Float("scale", 1.0, 1e3, sampling="log")
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1)(keras.layers.Rescaling(factor)(inputs))
    return compiled(keras.Model(inputs, outputs), keras.optimizers.SGD(rate(hp)))


def optimizers(hp: Any) -> Any:
    """Each optimizer has a frontier of its own."""
    name = hp.Choice("optimizer", ["sgd", "adam"])
    return compiled(dense(), OPTIMIZERS[name](rate(hp)))


def convolution(hp: Any) -> Any:
    """A small convolutional net on pixels from 0 to 1, or to 255."""
    factor = hp.Float("scale", 1.0, 255.0, sampling="log")
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(8, 3, activation="relu")(
        keras.layers.Rescaling(factor)(inputs)
    )
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(hidden))
    return compiled(keras.Model(inputs, outputs), keras.optimizers.SGD(rate(hp)))


def recurrent(hp: Any) -> Any:
    """A small recurrent net without a squashing activation; its first step's gain."""
    gain = hp.Float("gain", 0.3, 3.0, sampling="log")
    cell = keras.layers.SimpleRNN(
        8, activation="relu", recurrent_initializer=keras.initializers.Orthogonal(gain)
    )
    model = keras.Sequential([keras.Input((12, 2)), cell, keras.layers.Dense(1)])
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def attention(hp: Any) -> Any:
    """One head of attention over a series."""
    inputs = keras.Input((12, 2))
    hidden = keras.layers.Dense(8)(inputs)
    seen = keras.layers.MultiHeadAttention(1, 8)(hidden, hidden)
    pooled = keras.layers.GlobalAveragePooling1D()(hidden + seen)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def precisions(hp: Any) -> Any:
    """A perceptron in float32 or, without a loss scale, in float16."""
    dtype = hp.Choice("precision", ["float32", "float16"])
    optimizer = OPTIMIZERS[hp.Choice("optimizer", ["sgd", "adam"])]
    return compiled(dense(dtype=dtype), optimizer(rate(hp)))


def calm(hp: Any) -> Any:
    """A problem in which no training goes bad."""
    return compiled(dense(), keras.optimizers.Adam(rate(hp, 1e-6, 1e-3)))


def doomed(hp: Any) -> Any:
    """A problem in which every training goes bad: the loss divides by zero."""

    def loss(y: Any, p: Any) -> Any:
        return keras.ops.abs(y - p) / (0.0 * p)

    return compiled(dense(), keras.optimizers.SGD(rate(hp)), loss)


SCALE = ("scale", 1.0, 1e3)
PIXELS = ("scale", 1.0, 255.0)
GAIN = ("gain", 0.3, 3.0)
PAIR = ("sgd", "adam")
PROBLEMS = {
    "least squares": Problem(least_squares, table_data, (RATE,), batch=256),
    "demo": Problem(
        demo,
        demo_data,
        (RATE,),
        {"activation": ("relu", "tanh"), "optimizer": tuple(OPTIMIZERS)},
    ),
    "adam": Problem(with_optimizer(keras.optimizers.Adam), table_data, (RATE,)),
    "rmsprop": Problem(with_optimizer(keras.optimizers.RMSprop), table_data, (RATE,)),
    "scaled": Problem(scaled, table_data, (RATE, SCALE)),
    "optimizers": Problem(optimizers, table_data, (RATE,), {"optimizer": PAIR}),
    "convolution": Problem(convolution, images, (RATE, PIXELS)),
    "recurrent": Problem(recurrent, series, (RATE, GAIN)),
    "attention": Problem(attention, series, (RATE,)),
    "float16": Problem(
        precisions,
        table_data,
        (RATE,),
        {"precision": ("float32", "float16"), "optimizer": PAIR},
    ),
    "nothing dies": Problem(calm, table_data, (("learning_rate", 1e-6, 1e-3),)),
    "all dies": Problem(doomed, table_data, (RATE,)),
}
