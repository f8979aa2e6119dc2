# SPDX-License-Identifier: Apache-2.0
"""Short trainings of one model, traced once: a grid of them costs minutes and not hours.

`fit` traces every training again, with its probes, which takes 2 to 3 s; a training of
these models takes 10 ms. Here each category is traced once. What a training begins with
(weights, rate, scale of the inputs) comes from a model that its problem's own function
built for its values and its seed. It goes bad by the criterion of NaN Watch: a loss, a
weight or a slot of the optimizer that is not finite; or, where StabilitySearch looks,
a loss, an output of a layer or a kernel of `RUNAWAY_GROWTH` times its first value.
`python -m benchmarks.stability --check 5` trains some points both ways.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import keras
import keras_tuner
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from benchmarks.stability_problems import RATE, SCALE, Problem
from tb_nanwatch.stability.trial import LOOK_STEPS
from tb_nanwatch.writing.recording.buckets import bucket_end
from tb_nanwatch.writing.recording.lane import RUNAWAY_GROWTH

Array = npt.NDArray[Any]
Values = Mapping[str, Any]
# After so many steps a real training is validated: its epoch.
EPOCH: Final = 50
# Weights are drawn from so many seeds, the order of the rows from as many as are asked for.
WEIGHTS: Final = 40


class Outcome(NamedTuple):
    """The outcome of a training.

    Attributes:
        bad: whether it went bad.
        steps: that were trained until that was seen, or all.
        score: the best loss on the validation data; infinite where it went bad.
    """

    bad: bool
    steps: int
    score: float = float("inf")


def built(problem: Problem, values: Values, seed: int) -> Any:
    """Returns the problem's model for its values, its weights drawn from a seed."""
    keras.utils.set_random_seed(seed)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return problem.build(hp)


class Traced:
    """One category's model."""

    def __init__(self, problem: Problem, values: Values) -> None:
        self._model = model = built(problem, values, 0)
        self._scalers = _scalers(model)
        for layer in self._scalers:
            layer.scale = tf.Variable(1.0)
        # Models of Keras share their layers: every output is seen on the way.
        layers = [
            layer
            for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer)
        ]
        self._outputs = keras.Model(model.inputs, [layer.output for layer in layers])
        self._kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
        self.kinds = np.array([0] + [1] * len(layers) + [2] * len(self._kernels))
        model.optimizer.build(model.trainable_variables)
        self._slots = [(v, v.numpy()) for v in model.optimizer.variables]
        x, y = problem.data(0)
        self._x, self._y = tf.constant(x), tf.constant(y)
        self.rows = len(x)
        self._validation = [tf.constant(v) for v in problem.data(1)]
        self._train = tf.function(self._trained, jit_compile=True)
        self._judge = tf.function(self._judged)

    def begin(self, weights: list[Array], rate: float, scale: float) -> None:
        """Begins a new training with weights, a rate and a scale of the inputs."""
        for variable, value in zip(self._model.weights, weights, strict=True):
            variable.assign(value)
        for slot, value in self._slots:
            slot.assign(value)
        self._model.optimizer.learning_rate.assign(rate)
        for layer in self._scalers:
            layer.scale.assign(scale)

    def train(self, order: Array) -> tuple[Array, Array]:
        """Trains on rows in this order, [steps, batch], until something is not finite.

        Returns:
            [steps] whether all was finite, and [steps, series] root mean squares: of the
            loss, of each layer's output and of each kernel.
        """
        n, finite, seen = self._train(tf.constant(order, tf.int32))
        return finite.numpy()[:n], seen.numpy()[:n]

    def validate(self) -> float:
        """Returns the loss on the validation data."""
        return float(self._judge())

    def _judged(self) -> Any:
        x, y = self._validation
        return self._model.compute_loss(x, y, self._model(x, training=False))

    def _trained(self, order: Any) -> tuple[Any, Any, Any]:
        steps = order.shape[0]  # known to XLA
        width = len(self.kinds)

        def step(i: Any, going: Any, finite: Any, seen: Any) -> Any:
            x, y = tf.gather(self._x, order[i]), tf.gather(self._y, order[i])
            with tf.GradientTape() as tape:
                outputs = tf.nest.flatten(self._outputs(x, training=True))
                loss = self._model.compute_loss(x, y, outputs[-1])
            variables = self._model.trainable_variables
            gradients = tape.gradient(loss, [v.value for v in variables])
            self._model.optimizer.apply(gradients, variables)
            lasting = [loss, *self._model.variables, *self._model.optimizer.variables]
            floats = [tf.convert_to_tensor(v) for v in lasting]
            floats = [v for v in floats if v.dtype.is_floating]
            good = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in floats])
            roots = [_root(v) for v in (loss, *outputs, *self._kernels)]
            return i + 1, good, finite.write(i, good), seen.write(i, tf.stack(roots))

        arrays = (
            tf.TensorArray(tf.bool, steps, element_shape=()),
            tf.TensorArray(tf.float64, steps, element_shape=(width,)),
        )
        n, _, finite, seen = tf.while_loop(
            lambda i, going, *_: going & (i < steps),
            step,
            (tf.constant(0), tf.constant(True), *arrays),
        )
        return n, finite.stack(), seen.stack()


def _root(value: Any) -> Any:
    wide = tf.cast(tf.convert_to_tensor(value), tf.float64)
    return tf.sqrt(tf.reduce_mean(tf.square(wide)))


_TRACED: dict[tuple[int, str], Traced] = {}


@functools.lru_cache(maxsize=4096)
def _weights(
    problem: Problem, apart: tuple[tuple[str, Any], ...], seed: int
) -> list[Array]:
    """Returns the weights that a model begins with; neither rate nor scale moves them."""
    values = {name: low for name, low, _ in problem.numbers} | dict(apart)
    weights: list[Array] = built(problem, values, seed).get_weights()
    return weights


def _begun(problem: Problem, values: Values, seed: int) -> Traced:
    key = id(problem), repr([values[name] for name in problem.choices])
    if key not in _TRACED:
        _TRACED[key] = Traced(problem, values)
    names = [*problem.choices, *(name for name, *_ in problem.numbers)]
    apart = [(n, values[n]) for n in names if n not in (RATE[0], SCALE[0])]
    weights = _weights(problem, tuple(apart), seed % WEIGHTS)
    _TRACED[key].begin(weights, values[RATE[0]], values.get(SCALE[0], 1.0))
    return _TRACED[key]


def _scalers(model: Any) -> list[Any]:
    return [la for la in model.layers if isinstance(la, keras.layers.Rescaling)]


def order_of(problem: Problem, rows: int, steps: int, seed: int) -> Array:
    """Returns the rows of each step, [steps, batch], shuffled as `fit` does."""
    repeats = -(-steps * problem.batch // rows)
    order = np.arange(repeats * rows)
    if rows > problem.batch:
        np.random.default_rng(seed).shuffle(order)
    return order[: steps * problem.batch].reshape(steps, problem.batch) % rows


def growth(seen: Array, first: Array, upto: int) -> float:
    """Returns the growth by the last point of the lane that ends by step `upto`.

    Args:
        seen: [steps, series] as of `Traced.train`.
        first: [series] what growth is over.
        upto: steps.
    """
    start = end = 0
    while True:
        last = bucket_end(end)
        if last >= upto:
            break
        start, end = end, last + 1
    top = np.nanmax(np.where(np.isfinite(seen[start:end]), seen[start:end], 0.0), axis=0)
    return float(np.max(top / first, initial=0.0))


def _first(seen: Array, kinds: Array) -> Array:
    """Returns [series] the size that each one's growth is relative to: its kind's largest at first."""
    found = np.full(seen.shape[1], np.inf)
    for kind in np.unique(kinds):
        tops = np.where(np.isfinite(seen), seen, 0.0)[:, kinds == kind].max(axis=1)
        there = tops[tops > 0]
        if len(there):
            found[kinds == kind] = there[0]
    return found


def _parts(traced: Traced, order: Array) -> Iterator[tuple[Array, Array]]:
    """Trains an epoch at a time, so that one tracing does; ends where it went bad."""
    for start in range(0, len(order), EPOCH):
        finite, seen = traced.train(order[start : start + EPOCH])
        yield finite, seen
        if not finite.all():
            return


def short(problem: Problem, values: Values, seed: int, steps: int) -> Outcome:
    """Trains as a trial of StabilitySearch does; `steps` is a multiple of `EPOCH`."""
    traced = _begun(problem, values, seed)
    parts = list(_parts(traced, order_of(problem, traced.rows, steps, seed)))
    finite = np.concatenate([f for f, _ in parts])
    seen = np.concatenate([s for _, s in parts])
    first = _first(seen, traced.kinds)
    for looked in [*range(LOOK_STEPS, len(seen), LOOK_STEPS), len(seen)]:
        if growth(seen, first, looked) >= RUNAWAY_GROWTH:
            return Outcome(True, looked)
    return Outcome(not finite.all(), len(finite))


def real(problem: Problem, values: Values, seed: int, steps: int) -> Outcome:
    """Trains as a trial of the real search does: to its end, with validation."""
    traced = _begun(problem, values, seed)
    order = order_of(problem, traced.rows, steps, seed)
    every: list[Array] = []
    best = float("inf")
    for finite, seen in _parts(traced, order):
        every.append(seen)
        if not finite.all():
            return Outcome(True, sum(map(len, every)))
        value = traced.validate()
        best = min(best, value if np.isfinite(value) else float("inf"))
    whole = np.concatenate(every)
    bad = growth(whole, _first(whole, traced.kinds), steps) >= RUNAWAY_GROWTH
    return Outcome(bad or not np.isfinite(best), len(whole), best)
