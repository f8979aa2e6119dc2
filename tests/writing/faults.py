"""Faults for the campaign: one non-finite value, or many, in one tensor at one step.

What is to go wrong stands in one variable, set before a step runs, so that one
trace of the training step serves any number of faults. Nothing here knows the
code under test.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Values that a fault writes; the last one is finite and must not be reported.
VALUES: dict[str, float] = {
    "nan": np.nan,
    "+inf": np.inf,
    "-inf": -np.inf,
    "huge": 1e25,  # finite, though its square is not
}
DATA_PLACES = ("input", "label", "sample_weight")


@dataclass(frozen=True)
class Place:
    """A tensor in which a fault can be placed.

    Attributes:
        kind, name: of the probe that must be found to be the origin.
        size: elements of the tensor on one replica.
        rows: length of its first axis; None for a scalar.
        train, validation: where the tensor exists.
    """

    kind: str
    name: str
    size: int
    rows: int | None
    train: bool = True
    validation: bool = True


@dataclass(frozen=True)
class Fault:
    """One injected fault.

    Attributes:
        place: where.
        phase: "train" or "validation".
        step: of training steps, or of validation steps, each counted from 0.
        value: one of `VALUES`.
        start: index of the first element that goes bad.
        count: how many elements go bad.
        replica: where it happens, -1 for all of them.
    """

    place: Place
    phase: str
    step: int
    value: str
    start: int
    count: int
    replica: int = -1


class Faults:
    """The variable that tells the injectors what to do, and their places."""

    def __init__(self, steps_per_execution: int = 1) -> None:
        self.places: dict[str, tuple[int, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._steps = steps_per_execution
        # A row a step: place, value's index, start, count, replica. Made under no
        # strategy: each replica reads the same.
        self._rows = tf.Variable(
            np.full((steps_per_execution, 5), -1, np.int32), trainable=False
        )
        self._first = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Which step of the execution runs: of training the optimizer counts them.
        self.iterations: Callable[[], Any] | None = None
        self._validated = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._validating = False
        self.layers: dict[str, Any] = {}

    def count_validation(self, model: Any) -> None:
        """Has the steps of validation counted, and the places in them told apart."""
        step = model.test_step

        def counted(data: Any) -> Any:
            self._validating = True
            try:
                logs = step(data)
            finally:
                self._validating = False
            if self._steps > 1:
                self._validated.assign_add(1)
            return logs

        model.test_step = counted

    def name_of(self, variable: Any) -> str:
        """Returns the path under which users know a variable: layer and name."""

        def visit(path: str, layer: Any) -> str | None:
            for own in (*layer._trainable_variables, *layer._non_trainable_variables):
                if own is variable:
                    return f"{path}/{own.name}"
            for child in layer._layers:
                name = visit(f"{path}/{child.name}", child)
                if name:
                    return name
            return None

        found = (visit(path, layer) for path, layer in self.layers.items())
        return next((name for name in found if name), variable.path)

    def arm(self, first_step: int, faults: dict[int, Fault]) -> None:
        """Sets the faults of the next execution, by the step within it."""
        rows = np.full((self._steps, 5), -1, np.int32)
        for offset, fault in faults.items():
            if fault.place.kind not in DATA_PLACES:
                key = f"{fault.place.kind}:{fault.place.name}"
                rows[offset] = (
                    self.places[key][0],
                    list(VALUES).index(fault.value),
                    fault.start,
                    fault.count,
                    fault.replica,
                )
        self._rows.assign(rows)
        self._first.assign(first_step)

    def __call__(self, kind: str, name: str, tensor: Any, late: bool = False) -> Any:
        """Returns `tensor`, with the fault in it where it is this place's turn.

        Args:
            late: what is met after the update, which has counted the step already.
        """
        key = f"{kind}:{name}"
        with self._lock:
            number = self.places.setdefault(key, (len(self.places), {}))[0]
            info = self.places[key][1]
            info["shape"] = tensor.shape.as_list()
            info["validation" if self._validating else "train"] = True
        row = self._row(late)
        size = tf.size(tensor)
        index = tf.reshape(tf.range(size), tf.shape(tensor))
        hit = tf.math.floormod(index - row[2], tf.maximum(size, 1)) < row[3]
        active = tf.equal(row[0], number) & (
            tf.equal(row[4], -1) | tf.equal(row[4], _replica())
        )
        values = tf.constant(list(VALUES.values()), tf.float32)
        value = tf.cast(tf.gather(values, tf.maximum(row[1], 0)), tensor.dtype)
        return tf.where(active & hit, value, tensor)

    def _row(self, late: bool) -> Any:
        rows = self._rows.read_value()
        if self._steps == 1:
            return rows[0]
        if self._validating:
            step = self._validated.read_value()
        else:
            assert self.iterations is not None
            step = tf.cast(tf.convert_to_tensor(self.iterations()), tf.int64)
            step -= 1 if late else 0
        offset = tf.cast(step - self._first.read_value(), tf.int32)
        return tf.gather(rows, tf.clip_by_value(offset, 0, self._steps - 1))


@functools.cache
def two_replicas() -> Any:
    """Returns the one strategy of this process: those of two would meet in TensorFlow."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def _replica() -> Any:
    context = tf.distribute.get_replica_context()
    return tf.constant(0) if context is None else context.replica_id_in_sync_group


# --- Injectors ----------------------------------------------------------------


def layer(cls: type, faults: Faults, path: str, *args: Any, **kwargs: Any) -> Any:
    """Returns a layer of class `cls` whose output can go bad.

    Args:
        path: of the layer in its model; the last part becomes its name.
    """
    calls = _CallCounter()
    is_norm = issubclass(cls, keras.layers.BatchNormalization)

    @functools.wraps(cls.call)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(self, *args, **kwargs)
        number = calls.next()
        name = path if number == 1 else f"{path} (call {number})"
        if is_norm and kwargs.get("training"):
            for variable in (self.moving_mean, self.moving_variance):
                bad = faults("layer_state", f"{path}/{variable.name}", _read(variable))
                variable.assign(bad)
        return faults("activation", name, outputs)

    original = cls.call
    subclass = type(cls)(cls.__name__, (cls,), {"call": call})
    made = subclass(*args, name=path.rpartition("/")[2], **kwargs)
    faults.layers[path] = made
    return made


class _CallCounter:
    """Counts a layer's calls within one step: on a replica, a graph is one step."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], tuple[Any, int]] = {}

    def next(self) -> int:
        if tf.executing_eagerly():
            return 1
        graph = tf.compat.v1.get_default_graph()
        key = (id(graph), int(tf.get_static_value(_replica()) or 0))
        _, count = self._counts.get(key, (graph, 0))
        self._counts[key] = (graph, count + 1)
        return count + 1


def _read(variable: Any) -> Any:
    return tf.convert_to_tensor(variable.value)


class FaultyLoss(keras.losses.MeanSquaredError):
    """A loss for one output whose values, one a row, can go bad."""

    def __init__(self, faults: Faults, name: str) -> None:
        super().__init__(name=name)
        self._faults, self._place = faults, name

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._faults("loss", self._place, super().call(y_true, y_pred))


class FaultyMetric(keras.metrics.MeanAbsoluteError):
    """A metric whose result can go bad while its state stays finite."""

    def __init__(self, faults: Faults, name: str, prefix: str = "") -> None:
        super().__init__(name=name)
        self._faults, self._place = faults, prefix + name

    def result(self) -> Any:
        return self._faults("metric", self._place, super().result(), late=True)


class FaultyAdam(keras.optimizers.Adam):
    """An optimizer whose gradients, slots and updates can go bad."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(learning_rate=1e-3, name="adam")
        self._faults = faults
        faults.iterations = lambda: self.iterations.value

    def apply_gradients(self, grads_and_vars: Any) -> Any:
        return super().apply_gradients(faulty(self._faults, grads_and_vars))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate)
        index = self._get_variable_index(variable)
        name = self._faults.name_of(self._trainable_variables[index])
        momentum, velocity = self._momentums[index], self._velocities[index]
        for kind, target, path in (
            ("optimizer", momentum, momentum.path),
            ("optimizer", velocity, velocity.path),
            ("weight", variable, name),
        ):
            value = keras.ops.convert_to_tensor(target)
            self.assign(target, self._faults(kind, path, value))


class FaultyLossScale(keras.optimizers.LossScaleOptimizer):
    """Scales the loss; gradients go bad before it tells whether they are finite."""

    def __init__(self, faults: Faults) -> None:
        # A scale at which nothing overflows by itself.
        super().__init__(FaultyAdam(faults), initial_scale=16.0)
        self._faults = faults

    def apply_gradients(self, grads_and_vars: Any) -> Any:
        return super().apply_gradients(faulty(self._faults, grads_and_vars))


def optimizer(faults: Faults) -> Any:
    """Returns the optimizer for the dtype policy that is set."""
    half = keras.config.dtype_policy().name == "mixed_float16"
    return FaultyLossScale(faults) if half else FaultyAdam(faults)


def faulty(faults: Faults, grads_and_vars: Any) -> list[tuple[Any, Any]]:
    """Returns the pairs with gradients that can go bad."""
    pairs = []
    for grad, variable in grads_and_vars:
        name = faults.name_of(variable)
        if isinstance(grad, tf.IndexedSlices):
            values = faults("gradient", name, grad.values)
            grad = tf.IndexedSlices(values, grad.indices, grad.dense_shape)
        elif grad is not None:
            grad = faults("gradient", name, grad)
        pairs.append((grad, variable))
    return pairs


# --- The campaign's callback -----------------------------------------------------


class Saboteur(keras.callbacks.Callback):
    """Arms the faults step by step, and mends the model after each.

    Args:
        faults: what the injectors read.
        plan: the faults, at most one a step of each phase.
        steps_per_execution: of the model.
    """

    def __init__(
        self, faults: Faults, plan: list[Fault], steps_per_execution: int = 1
    ) -> None:
        super().__init__()
        self._faults = faults
        self._plan = {(f.phase, f.step): f for f in plan}
        self._per_call = steps_per_execution
        self._steps = {"train": 0, "validation": 0}
        self._saved: list[tuple[Any, Any]] = []
        self.passes = 0  # of validation, begun
        # What NumPy counted in the variables after a fault in one of them.
        self.counted: dict[Fault, tuple[int, int, int]] = {}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._before("train", self._per_call)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._after("train", self._per_call)

    def on_test_begin(self, logs: Any = None) -> None:
        self.passes += 1

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._before("validation", self._per_call)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._after("validation", self._per_call)

    def _before(self, phase: str, steps: int) -> None:
        first = self._steps[phase]
        due = {
            i: self._plan[phase, first + i]
            for i in range(steps)
            if (phase, first + i) in self._plan
        }
        if due:
            self._saved = [(v, np.array(v.numpy())) for v in self._variables()]
        self._faults.arm(first, due)

    def _after(self, phase: str, steps: int) -> None:
        first = self._steps[phase]
        self._steps[phase] += steps
        if not self._saved:
            return
        for i in range(steps):
            fault = self._plan.get((phase, first + i))
            if fault is not None:
                self._count(fault)
        for variable, value in self._saved:
            variable.assign(value)
        for metric in self.model.metrics:  # those of `compile` are made in the first step
            metric.reset_state()
        self._saved = []

    def _variables(self) -> list[Any]:
        optimizer = self.model.optimizer
        kept = {id(optimizer.iterations), id(optimizer._learning_rate)}
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        kept.add(id(inner._learning_rate))
        found = {id(v): v for v in (*self.model.variables, *optimizer.variables)}
        return [v for key, v in found.items() if key not in kept]

    def _count(self, fault: Fault) -> None:
        if fault.place.kind not in ("optimizer", "weight", "layer_state"):
            return
        if self._per_call > 1:  # later steps have spread it
            return
        for variable in self._variables():
            if self._faults.name_of(variable) == fault.place.name:
                value = variable.numpy()
                self.counted[fault] = (
                    int(np.isnan(value).sum()),
                    int(np.isposinf(value).sum()),
                    int(np.isneginf(value).sum()),
                )
