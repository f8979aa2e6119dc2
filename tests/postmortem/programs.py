"""Small programs that go bad in their first step, each at a line that is known.

The line is marked in the source, by a comment "here: NAME".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.postmortem import elsewhere

L = keras.layers


@dataclass
class Program:
    """One program.

    Attributes:
        make: returns the compiled model, the inputs and the labels.
        op: the operation's public name, None where none is to be named.
        line: whether a line is to be named.
        gradient: whether the operation is part of a gradient.
        finding: what the finding says, in part.
        layer, data: as in `schema.PostMortem`.
        origin: kind of the first bad tensor.
    """

    make: Callable[[], tuple[Any, Any, Any]]
    op: str | None = None
    line: bool = True
    gradient: bool = False
    finding: str = ""
    layer: str | None = None
    data: str | None = None
    origin: str | None = None

    @property
    def name(self) -> str:
        return self.make.__name__


PROGRAMS: list[Program] = []


def program(op: str | None = None, **expected: Any) -> Any:
    def add(make: Any) -> Any:
        PROGRAMS.append(Program(make, op, **expected))
        return make

    return add


def numbers(*shape: int) -> Any:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def compiled(model: Any, loss: Any = "mse", **options: Any) -> Any:
    model.compile(options.pop("optimizer", "sgd"), loss, **options)
    return model


def mlp(*layers: Any, units: int = 1) -> Any:
    return keras.Sequential([keras.Input((4,)), *layers, L.Dense(units, name="last")])


def zeros_in(y: Any, n: int = 3) -> Any:
    y[:n] = 0
    return y


# --- Losses -------------------------------------------------------------------


@program("tf.math.divide", finding="3 of 8 denominators are 0", origin="loss")
def loss_division() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_mean(tf.abs(y - p) / tf.abs(y))  # here: loss_division

    return compiled(mlp(), loss), numbers(8, 4), zeros_in(numbers(8, 1))


@program("tf.math.divide", finding="2 of 8 denominators are 0")
def loss_elsewhere() -> Any:
    return compiled(mlp(), elsewhere.ratio), numbers(8, 4), zeros_in(numbers(8, 1), 2)


@program("tf.math.log", finding="negative", origin="loss")
def loss_keras_ops() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return keras.ops.mean(
            y * keras.ops.log(p - 100.0),  # here: loss_keras_ops
        )

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.math.divide", finding="3 of 8 denominators are 0")
def loss_over_several_lines() -> Any:
    def loss(y: Any, p: Any) -> Any:
        squares = tf.square(y - p)
        return tf.reduce_mean(
            tf.sqrt(
                squares  # here: loss_over_several_lines
                / (
                    tf.square(
                        y,
                    )
                )
                + 1.0
            )
        )

    return compiled(mlp(), loss), numbers(8, 4), zeros_in(numbers(8, 1))


@program("tf.math.log", finding="the argument is 0")
def loss_closure() -> Any:
    def scaled(weight: float) -> Any:
        def loss(y: Any, p: Any) -> Any:
            return weight * tf.math.log(tf.reduce_sum(0.0 * p))  # here: loss_closure

        return loss

    return compiled(mlp(), scaled(0.5)), numbers(8, 4), numbers(8, 1)


class OwnLoss(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        shifted = y_pred * 0.0
        return tf.math.acos(shifted + 2.0)  # here: loss_class


@program("tf.math.acos", finding="8 of 8 arguments are outside [-1, 1]", origin="loss")
def loss_class() -> Any:
    return compiled(mlp(), OwnLoss()), numbers(8, 4), numbers(8, 1)


@program("tf.math.pow", finding="negative under an exponent that is no integer")
def loss_power() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return ((y - 100.0) ** 0.5) * p  # here: loss_power

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.math.exp", finding="above 88.7", origin="loss")
def loss_overflow() -> Any:
    def loss(y: Any, p: Any) -> Any:
        rate = tf.exp(p + 1000.0)  # here: loss_overflow
        return rate - y * p

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.math.divide", finding="1 of 2 denominators is 0")
def loss_with_innocent_where() -> Any:
    def loss(y: Any, p: Any) -> Any:
        guarded = tf.where(y > 0, tf.math.log(tf.stop_gradient(y)), 0.0)
        counts = tf.constant([1.0, 0.0])
        return tf.reduce_sum(guarded) + tf.reduce_sum(
            p / counts  # here: loss_with_innocent_where
        )

    return compiled(mlp(units=2), loss), numbers(8, 4), zeros_in(numbers(8, 2))


@program("tf.math.divide", finding="3 of 8 denominators are 0")
def loss_with_innocent_maximum() -> Any:
    def loss(y: Any, p: Any) -> Any:
        row = tf.reshape(tf.range(8.0), (-1, 1))
        log = tf.math.log(tf.nn.relu(4.0 - row))  # minus infinity in the last rows
        ratio = tf.abs(p) / tf.abs(y)  # here: loss_with_innocent_maximum
        return tf.reduce_mean(tf.maximum(log, ratio))

    return compiled(mlp(), loss), numbers(8, 4), zeros_in(numbers(8, 1))


@program("tf.math.multiply", finding="constant")
def loss_constant() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return (y - p) * float("nan")  # here: loss_constant

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.math.divide", finding="8 of 8 denominators are 0")
def loss_in_a_function() -> Any:
    @tf.function
    def helper(y: Any, p: Any) -> Any:
        return p / (y - y)  # here: loss_in_a_function

    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_mean(helper(y, p))

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.math.sqrt", finding="negative")
def loss_of_a_helper_of_a_helper() -> Any:
    def root(x: Any) -> Any:
        return tf.sqrt(x)  # here: loss_of_a_helper_of_a_helper

    def distance(a: Any, b: Any) -> Any:
        return root(a - b - 50.0)

    return compiled(mlp(), lambda y, p: distance(y, p)), numbers(8, 4), numbers(8, 1)


# --- Layers -------------------------------------------------------------------


class Normalise(L.Layer):
    def call(self, x: Any) -> Any:
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        return centred / tf.math.reduce_std(x * 0.0, -1, keepdims=True)  # here: own_layer


@program("tf.math.divide", finding="8 of 8 denominators are 0", origin="activation")
def own_layer() -> Any:
    model = mlp(L.Dense(5), Normalise(name="normalise"))
    return compiled(model), numbers(8, 4), numbers(8, 1)


@program("tf.math.log", layer="lambda", origin="activation")
def lambda_layer() -> Any:
    model = mlp(
        L.Lambda(lambda x: tf.math.log(x * 0.0), name="lambda"),  # here: lambda_layer
    )
    return compiled(model), numbers(8, 4), numbers(8, 1)


def lambda_model() -> Any:
    return lambda_layer()[0]


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = L.Dense(5), L.Dense(1)

    def call(self, x: Any) -> Any:
        hidden = self.first(x)
        hidden = hidden * tf.math.rsqrt(0.0 * hidden)  # here: subclassed_model
        return self.last(hidden)


@program("tf.math.rsqrt", finding="40 of 40 arguments are 0")
def subclassed_model() -> Any:
    return compiled(Subclassed()), numbers(8, 4), numbers(8, 1)


class CallsBuiltIn(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.last = L.Dense(1, kernel_initializer=keras.initializers.Constant(3e38))

    def call(self, x: Any) -> Any:
        return self.last(x * 1e3)  # here: subclassed_model_calls_a_layer


@program("tf.linalg.matmul", finding="beyond 3.4e+38")
def subclassed_model_calls_a_layer() -> Any:
    return compiled(CallsBuiltIn()), numbers(8, 4), numbers(8, 1)


@program("tf.linalg.matmul", line=False, layer="big", origin="activation")
def built_in_layer() -> Any:
    big = L.Dense(5, kernel_initializer=keras.initializers.Constant(3e38), name="big")
    return compiled(mlp(big)), 1e3 * numbers(8, 4), numbers(8, 1)


@program("tf.math.exp", layer="dense")
def own_activation() -> Any:
    def activation(x: Any) -> Any:
        return tf.exp(500.0 + x)  # here: own_activation

    model = mlp(L.Dense(5, activation=activation, name="dense"))
    return compiled(model), numbers(8, 4), numbers(8, 1)


@program("tf.math.log", line=False, origin="activation")
def functional_with_keras_ops() -> Any:
    x = keras.Input((4,))
    hidden = keras.ops.log(L.Dense(5)(x) - 100.0)
    model = keras.Model(x, L.Dense(1)(hidden))
    return compiled(model), numbers(8, 4), numbers(8, 1)


@program("tf.math.divide", layer="inner/normalise")
def nested_model() -> Any:
    x = keras.Input((4,))
    inner = keras.Sequential([L.Dense(5), Normalise(name="normalise")], name="inner")
    model = keras.Model(x, L.Dense(1)(inner(x)))
    return compiled(model), numbers(8, 4), numbers(8, 1)


nested_model.line_of = "own_layer"


class Custom(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.last = L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.last(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            error = self(x, training=True) - y
            loss = tf.reduce_mean(tf.sqrt(0.0 * error))  # here: own_train_step
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


@program("tf.math.sqrt", gradient=True, finding="8 of 8 square roots are 0")
def own_train_step() -> Any:
    return compiled(Custom()), numbers(8, 4), numbers(8, 1)


# --- Gradients ----------------------------------------------------------------


@program("tf.math.sqrt", gradient=True, origin="gradient", finding="8 of 8 square roots")
def gradient_of_a_root() -> Any:
    def loss(y: Any, p: Any) -> Any:
        distance = tf.sqrt(tf.square(p - tf.stop_gradient(p)))  # here: gradient_of_a_root
        return tf.reduce_mean(distance)

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.math.log", gradient=True, origin="gradient", finding="are 0")
def gradient_through_a_guard() -> Any:
    def loss(y: Any, p: Any) -> Any:
        positive = tf.nn.relu(p - 100.0)
        log = tf.math.log(positive)  # here: gradient_through_a_guard
        return tf.reduce_mean(tf.where(positive > 0, log, 0.0))

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.norm", gradient=True, origin="gradient", finding="square root")
def gradient_of_a_norm() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return tf.norm(p * 0.0)  # here: gradient_of_a_norm

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


PROGRAMS[-1].op = "tf.math.sqrt"  # tf.norm is made of this


@program("tf.math.divide", gradient=True, origin="gradient")
def gradient_of_a_guarded_division() -> Any:
    def loss(y: Any, p: Any) -> Any:
        ratio = p / y  # here: gradient_of_a_guarded_division
        return tf.reduce_mean(tf.where(y == 0.0, tf.zeros_like(ratio), ratio))

    return compiled(mlp(), loss), numbers(8, 4), zeros_in(numbers(8, 1))


@program("tf.math.pow", gradient=True, origin="gradient")
def gradient_of_a_power() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_mean((p * 0.0) ** 0.5)  # here: gradient_of_a_power

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


class RootLayer(L.Layer):
    def call(self, x: Any) -> Any:
        zero = x - tf.stop_gradient(x)
        return x + tf.sqrt(zero)  # here: gradient_in_a_layer


@program("tf.math.sqrt", gradient=True, layer="root", origin="gradient")
def gradient_in_a_layer() -> Any:
    model = mlp(L.Dense(5), RootLayer(name="root"))
    return compiled(model), numbers(8, 4), numbers(8, 1)


@program(gradient=True, origin="gradient", finding="0")
def gradient_of_ones_own() -> Any:
    @tf.custom_gradient
    def identity(x: Any) -> Any:
        def backward(incoming: Any) -> Any:
            return incoming / (x - x)  # here: gradient_of_ones_own

        return tf.identity(x), backward

    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_mean(tf.square(identity(p) - y))

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


# --- Metrics, optimizer, data, overflow ---------------------------------------


@program("tf.math.divide", origin="metric", finding="denominators are 0")
def metric_function() -> Any:
    def relative(y: Any, p: Any) -> Any:
        return tf.abs(y - p) / tf.abs(y)  # here: metric_function

    model = compiled(mlp(), metrics=[relative])
    return model, numbers(8, 4), zeros_in(numbers(8, 1))


class OwnMetric(keras.metrics.Metric):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(tf.reduce_sum(y_true * 0.0))

    def result(self) -> Any:
        return tf.math.log(self.total)  # here: metric_class


@program("tf.math.log", origin="metric", finding="the argument is 0")
def metric_class() -> Any:
    return compiled(mlp(), metrics=[OwnMetric()]), numbers(8, 4), numbers(8, 1)


@program("tf.math.square", line=False, origin="optimizer")
def optimizer_slot() -> Any:
    model = compiled(mlp(), lambda y, p: 1e25 * p, optimizer="adam")
    return model, numbers(8, 4), numbers(8, 1)


@program(line=False, data="input", origin="input")
def data_input() -> Any:
    x = numbers(8, 4)
    x[[2, 5], 1] = np.nan
    return compiled(mlp()), x, numbers(8, 1)


@program(line=False, data="label", origin="label")
def data_label() -> Any:
    y = numbers(8, 1)
    y[6] = np.inf
    return compiled(mlp()), numbers(8, 4), y


@program("tf.math.squared_difference|tf.math.square", line=False, origin="loss")
def built_in_loss() -> Any:
    return compiled(mlp()), 1e25 * numbers(8, 4), numbers(8, 1)


@program("tf.cast", finding="float16")
def half_precision() -> Any:
    def squash(x: Any) -> Any:
        return tf.cast(tf.cast(x * 1e6, tf.float16), tf.float32)  # here: half_precision

    model = mlp(L.Lambda(squash), L.Dense(3))
    return compiled(model), numbers(8, 4), numbers(8, 1)


@program("tf.math.reduce_sum", finding="the largest float32: elements 3e+38")
def sum_overflows() -> Any:
    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_sum(p * 0.0 + 3e38)  # here: sum_overflows

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


@program("tf.nn.softmax", finding="NaN of infinite")
def masked_away() -> Any:
    def masked(x: Any) -> Any:
        hidden = tf.where(x > 1e9, x, -np.inf)
        return tf.nn.softmax(hidden)  # here: masked_away

    model = mlp(L.Lambda(masked))
    return compiled(model), numbers(8, 4), numbers(8, 1)


@program("tf.math.reduce_mean", finding="the mean of no elements")
def mean_of_nothing() -> Any:
    def loss(y: Any, p: Any) -> Any:
        positive = tf.boolean_mask(p, y > 1e9)
        return tf.reduce_mean(positive)  # here: mean_of_nothing

    return compiled(mlp(), loss), numbers(8, 4), numbers(8, 1)


class Activity(L.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(tf.math.log(tf.reduce_sum(x * 0.0)))  # here: added_loss
        return x


@program("tf.math.log", finding="the argument is 0", origin="loss")
def added_loss() -> Any:
    return compiled(mlp(Activity())), numbers(8, 4), numbers(8, 1)
