"""Small models, and faults that every backend of Keras can be given, in keras.ops alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

L = keras.layers
ops = keras.ops
BATCH, STEPS = 8, 12
Data = tuple[Any, Any, Any]


class Counting(L.Layer):
    """Passes its input on; `at` of the steps of a training is a bad one."""

    def __init__(self, at: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at = at

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="count"
        )

    def is_bad(self, training: Any) -> Any:
        bad = ops.cast(ops.equal(self.count, self.at), "float32")
        if training:
            self.count.assign_add(1)
        return bad

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class BadOutput(Counting):
    """Makes an infinity of one value at that step."""

    def call(self, x: Any, training: Any = False) -> Any:
        bad = self.is_bad(training) if training else ops.zeros(())
        ones = ops.ones_like(x)
        first = ops.cast(ops.equal(ops.cumsum(ops.ravel(ones)), 1.0), "float32")
        hit = bad * ops.reshape(first, ops.shape(x))
        return (x + 2.0 * hit) / (1.0 - hit)


class BadGradient(Counting):
    """The derivative alone is NaN at that step: that of a root at zero."""

    def call(self, x: Any, training: Any = False) -> Any:
        bad = self.is_bad(training) if training else ops.zeros(())
        return x + 1e-6 * ops.sqrt((1.0 - bad) * (ops.square(x) + 1.0))


class RateAt(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is infinite at one step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        return ops.where(ops.equal(step, float(self.at)), float("inf"), 1e-3)

    def get_config(self) -> dict[str, Any]:
        return {"at": self.at}


def log_of_labels(y: Any, prediction: Any) -> Any:
    """A metric that is finite as long as no label is negative."""
    return ops.log(y + 2.0) + 0.0 * prediction


def dense(fault: Any = None) -> Any:
    x = inputs = keras.Input((6,))
    x = L.Dense(8, activation="tanh", name="first")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = x if fault is None else fault(x)
    x = L.Dropout(0.2, seed=1, name="dropout")(x)
    return keras.Model(inputs, L.Dense(1, name="last")(x), name="dense")


def conv(fault: Any = None) -> Any:
    x = inputs = keras.Input((6, 6, 1))
    x = L.Conv2D(3, 3, activation="relu", name="first")(x)
    x = x if fault is None else fault(x)
    x = L.MaxPooling2D(name="pool")(x)
    return keras.Model(inputs, L.Dense(1, name="last")(L.Flatten()(x)), name="conv")


def residual(fault: Any = None) -> Any:
    x = inputs = keras.Input((6,))
    x = L.Dense(6, activation="tanh", name="first")(x)
    x = x if fault is None else fault(x)
    x = L.Add(name="add")([x, inputs])
    x = ops.tanh(x)
    return keras.Model(inputs, L.Dense(1, name="last")(x), name="residual")


def recurrent(fault: Any = None) -> Any:
    x = inputs = keras.Input((4, 3))
    x = L.GRU(5, return_sequences=True, name="first")(x)
    x = x if fault is None else fault(x)
    x = L.LSTM(4, name="second")(x)
    return keras.Model(inputs, L.Dense(1, name="last")(x), name="recurrent")


MODELS = {"dense": dense, "conv": conv, "residual": residual, "recurrent": recurrent}


def compiled(
    kind: str, fault: Any = None, optimizer: Any = "adam", **options: Any
) -> Any:
    """Returns a model of one seed, the same each time."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    model = MODELS[kind](fault)
    if optimizer == "adam":
        optimizer = keras.optimizers.Adam(1e-3)
    options.setdefault("weighted_metrics", [log_of_labels])
    model.compile(optimizer, "mse", **options)
    return model


def data_of(model: Any) -> Data:
    """Returns inputs, labels of at least -1 and sample weights of one for all steps."""
    rng = np.random.default_rng(3)
    n = BATCH * STEPS
    x = rng.normal(size=(n, *model.input_shape[1:])).astype("float32")
    y = rng.uniform(-1, 1, size=(n, 1)).astype("float32")
    return x, y, np.ones(n, "float32")


def fit(model: Any, data: Data, *callbacks: Any, **options: Any) -> Any:
    """Trains without shuffling; returns the history."""
    x, y, weights = data
    return model.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


def state(model: Any) -> list[Any]:
    """Returns the values of all weights, layer state and slots."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
