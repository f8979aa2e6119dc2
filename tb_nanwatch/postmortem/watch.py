# SPDX-License-Identifier: Apache-2.0
"""Watches every operation of one eager step; holds all code that needs TensorFlow's eager mode."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from tb_nanwatch.compat.names import Feature, has
from tb_nanwatch.compat.tensorflow import (
    backward_file,
    custom_result,
    operations_watched,
    tensor_id,
)
from tb_nanwatch.postmortem import operations
from tb_nanwatch.postmortem.counting import bad_rows, count
from tb_nanwatch.postmortem.flow import Counts, Details, Flow, Op
from tb_nanwatch.postmortem.source import Place, is_users

# Operations that are described in full; a step that is bad all over needs no more.
_MAX_DETAILS: Final = 2000
# Ids of values that have none: what a variable held before the step.
_HELD: Final = 1 << 40
# The id of a value that is no eager tensor.
_NO_ID: Final = -1
_MEMORY_EVERY: Final = 64
_KERAS: Final = os.path.join(os.path.dirname(keras.__file__), "")
# One element of the result comes from the same element of each input.
_ELEMENTWISE: Final = (
    *("Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"),
    "SquaredDifference",
)
# They draw from a state that no capsule holds: TensorFlow's own, or a tf.random.Generator's.
_RANDOM: Final = frozenset(
    "Multinomial RandomGamma RandomPoissonV2 RandomShuffle RandomStandardNormal "
    "RandomUniform RandomUniformInt TruncatedNormal StatefulRandomBinomial "
    "StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform "
    "StatefulUniformFullInt StatefulUniformInt".split()
)
_CHOICES: Final = ("SelectV2", "Select")


class LimitError(Exception):
    """The step took more time or memory than it may; the message says which."""


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Makes each tf.function run operation by operation until the block ends."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


class OpWatch:
    """Records the flow of non-finite values through the operations that run.

    Args:
        boundary: code at which the user's stack ends.
        paths: of the model's layers, by id.
        held: names of variables by id of their handle.
        seconds: that the step may take.
        memory: bytes by which the process may grow.
    """

    def __init__(
        self,
        boundary: CodeType,
        paths: Mapping[int, str],
        variables: Sequence[tuple[str, Any]],
        seconds: float,
        memory: int,
    ) -> None:
        self.flow = Flow()
        self._boundary = boundary
        self._paths = paths
        self._variables = variables
        self._names = {tensor_id(v.handle): name for name, v in variables}
        self._backward = backward_file()
        self._follows_custom = has(Feature.CUSTOM_GRADIENT)
        self._deadline = time.monotonic() + seconds
        self._seconds, self._memory = seconds, memory
        self._peak = _peak_memory()
        self._ops = 0
        self._reading = False
        self._details = 0
        self._bad_before = {tensor_id(v.handle) for _, v in variables if count(v.numpy())}
        # What a variable holds: the tensor last written, by its handle.
        self._written: dict[int, int] = {}
        self._by_inputs: dict[tuple[str, tuple[int, ...]], list[Op]] = {}
        self._forward: Op | None = None
        # Operations, by index, that ran in a call of the model or of a layer.
        self._in_model: set[int] = set()

    def add_data(self, name: str, tensor: Any) -> None:
        """Names a tensor of the batch."""
        self.flow.data[tensor_id(tensor)] = name
        counts = _count(tensor)
        if counts:
            self.flow.counts[tensor_id(tensor)] = counts

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches the operations of this thread until the block ends."""
        with eager_operations(self._callback, self._gradients):
            yield

    def in_model(self, op: Op) -> bool | None:
        """Returns whether an operation ran in a call of the model or of a layer.

        Of a gradient's: the operation whose gradient it is; None where that is not known.
        """
        forward = op.forward if op.gradient else op
        return forward.index in self._in_model if forward is not None else None

    # --- The backward pass ----------------------------------------------------

    def _gradients(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps TensorFlow's function that runs a gradient, to note whose gradient it is."""

        def gradient(
            op_name: Any, attrs: Any, n: int, inputs: Any, outputs: Any, *rest: Any
        ) -> Any:
            outer, self._forward = self._forward, self._find(op_name, inputs, outputs)
            try:
                return original(op_name, attrs, n, inputs, outputs, *rest)
            finally:
                self._forward = outer

        return gradient

    def _find(self, op_name: Any, inputs: Any, outputs: Any) -> Op | None:
        for tensor in outputs or ():
            op = self.flow.maker.get(tensor_id(tensor, _NO_ID))
            if op is not None:
                return op
        # Where the gradient needs no output TensorFlow keeps none.
        ids = tuple(tensor_id(t, _NO_ID) for t in inputs or ())
        found = self._by_inputs.get((_text(op_name), ids)) if ids else None
        if not found:
            return None
        # The same operation on the same tensors twice: the tape runs backwards.
        return found.pop() if len(found) > 1 else found[0]

    # --- Operations -----------------------------------------------------------

    def _callback(
        self,
        op_type: Any,
        inputs: Sequence[Any],
        attrs: Any,
        outputs: Sequence[Any],
        op_name: Any = None,
        graph: Any = None,
    ) -> None:
        if graph is not None or self._reading:
            return
        self._ops += 1
        self._check_limits()
        op_type = _text(op_type)
        if op_type in _RANDOM:
            self.flow.random.add(op_type)
        handle = next((t for t in inputs if t.dtype == tf.resource), None)
        if op_type == "ReadVariableOp" and handle is not None:
            self._read(tensor_id(handle), outputs[0])
            return
        values = [t for t in inputs if _can_be_bad(t)]
        sources = [t for t in values if self._is_bad(t)]
        results = [t for t in outputs if _can_be_bad(t)]
        bad = {tensor_id(t): c for t in results if (c := _count(t))}
        written = handle is not None and not outputs
        if not results and not written:
            self.flow.opaque.update(tensor_id(t) for t in outputs)
            return
        op = Op(
            self._ops,
            op_type,
            [tensor_id(t) for t in inputs],
            [tensor_id(t) for t in outputs],
            bad,
            [],
        )
        self._locate(op, sys._getframe(1))
        self.flow.maker.update((tensor_id(t), op) for t in outputs)
        self.flow.counts.update(bad)
        if not op.gradient and inputs:
            key = (op_type, tuple(op.inputs))
            self._by_inputs.setdefault(key, []).append(op)
        if written and handle is not None:
            self._write(op, tensor_id(handle), values)
        elif bad:
            if handle is not None:  # a look-up in a variable
                op.sources += self._held(tensor_id(handle))
            self._explain(op, inputs, outputs, sources)

    def _explain(
        self, op: Op, inputs: Sequence[Any], outputs: Sequence[Any], sources: list[Any]
    ) -> None:
        """Notes where the bad results of an operation came from."""
        if op.op_type in _CHOICES and sources:
            sources = _chosen(inputs, outputs[0], sources)
        elif op.op_type in _ELEMENTWISE and len(sources) > 1:
            sources = _coinciding(outputs[0], sources)
        op.sources += [tensor_id(t) for t in sources]
        op.constants = any(self._is_constant(tensor_id(t)) for t in sources)
        if self._details < _MAX_DETAILS:
            self._details += 1
            worst = next(t for t in outputs if tensor_id(t) in op.bad)
            op.details = _details(op.op_type, inputs, worst)

    def _check_limits(self) -> None:
        if time.monotonic() > self._deadline:
            raise LimitError(f"it took longer than {self._seconds:g} s")
        if self._ops % _MEMORY_EVERY == 0 and _peak_memory() - self._peak > self._memory:
            raise LimitError(f"it took more than {self._memory / 2**20:,.0f} MiB")

    def _is_bad(self, tensor: Any) -> bool:
        at = tensor_id(tensor)
        if at in self.flow.counts:
            return True
        if at in self.flow.maker or at in self.flow.data:
            return False
        counts = _count(tensor)
        if not counts:
            return False
        # Variables that are read on the way into an operation leave no trace of it.
        self.flow.counts[at] = counts
        value = tensor.numpy()
        for name, variable in self._variables:
            if variable.dtype == tensor.dtype and variable.shape == tensor.shape:
                held = self._value(variable)
                if held.tobytes() == value.tobytes():
                    self._alias(tensor_id(variable.handle), at, name)
                    break
        return True

    def _value(self, variable: Any) -> Any:
        """Returns a variable's value; reading it does not count as an operation of the step."""
        self._reading = True
        try:
            with tf.init_scope():
                return variable.numpy()
        finally:
            self._reading = False

    def _is_constant(self, at: int) -> bool:
        flow = self.flow
        return at not in flow.maker and at not in flow.data and at not in flow.held

    def _read(self, handle: int, output: Any) -> None:
        if not _can_be_bad(output):
            return
        if handle not in self._written and handle in self._names:
            self.flow.read[tensor_id(output)] = self._names[handle]
        counts = _count(output)
        if counts:
            self.flow.counts[tensor_id(output)] = counts
            self._alias(handle, tensor_id(output), self._names.get(handle, "a variable"))

    def _alias(self, handle: int, tensor: int, name: str) -> None:
        written = self._written.get(handle)
        maker = self.flow.maker.get(written) if written is not None else None
        if maker is not None:
            self.flow.maker[tensor] = maker
        elif written is not None and written in self.flow.data:
            self.flow.data[tensor] = self.flow.data[written]
        elif written is None:
            self.flow.held[tensor] = name

    def _write(self, op: Op, handle: int, values: Sequence[Any]) -> None:
        """Notes the tensor that an operation has written to a variable."""
        if op.op_type == "AssignVariableOp":
            self._written[handle] = tensor_id(values[0]) if values else -1
            return
        # The new value is known only by reading it; it has an id of its own.
        variable = next(
            (v for _, v in self._variables if tensor_id(v.handle) == handle), None
        )
        made = -op.index
        held = self._held(handle)
        self._written[handle] = made
        self.flow.maker[made] = op
        if variable is None:
            return
        value = self._value(variable)
        counts = count(value)
        if not counts:
            return
        op.bad[made] = self.flow.counts[made] = counts
        op.sources += [tensor_id(t) for t in values if self._is_bad(t)]
        op.sources += held
        op.details = _details(op.op_type, values, value)

    def _held(self, handle: int) -> list[int]:
        """Returns the id of a variable's tensor, where its value is non-finite."""
        before = self._written.get(handle)
        if before is not None:
            return [before] if before in self.flow.counts else []
        if handle not in self._bad_before:
            return []
        self.flow.held[-_HELD - handle] = self._names[handle]
        return [-_HELD - handle]

    # --- Where ----------------------------------------------------------------

    def _locate(self, op: Op, frame: FrameType | None) -> None:
        """Fills in line, layer and forward operation from the stack."""
        place, layer, custom = None, None, None
        while frame is not None and frame.f_code is not self._boundary:
            code = frame.f_code
            file = code.co_filename
            if file == self._backward:
                op.gradient = True
                break  # what lies further out only asked for the gradient
            if custom is None and self._follows_custom:
                custom = custom_result(frame)
            if place is None and is_users(file):
                place = Place(code, frame.f_lineno, frame.f_lasti)
            elif layer is None and file.startswith(_KERAS):
                layer = self._keras_object(op, frame)
            frame = frame.f_back
        op.place = place
        if op.gradient:
            op.forward = self._forward or self._custom(custom)
            if op.forward is not None:
                op.place = place or op.forward.place
                op.layer, op.owner = op.forward.layer, op.forward.owner

    def _custom(self, result: Any) -> Op | None:
        for tensor in tf.nest.flatten(result):
            op = self.flow.maker.get(tensor_id(tensor, _NO_ID))
            if op is not None:
                return op
        return None

    def _keras_object(self, op: Op, frame: FrameType) -> Any:
        """Notes the innermost layer, loss, metric or optimizer that called."""
        name = frame.f_code.co_name
        if name not in ("__call__", "update_state", "result", "update_step"):
            return None
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.Layer):
            op.layer = self._paths.get(id(owner), owner.name)
            self._in_model.add(op.index)
            return owner
        if op.owner:
            return None
        if isinstance(owner, keras.losses.Loss):
            op.owner = f"the loss {owner.name!r}"
        elif isinstance(owner, keras.metrics.Metric):
            op.owner = f"the metric {owner.name!r}"
        elif isinstance(owner, keras.optimizers.Optimizer):
            variable = frame.f_locals.get("variable")
            path = getattr(variable, "path", "")
            op.owner = f"{type(owner).__name__}'s update" + (
                f" of {path}" if path else ""
            )
        return None


@contextlib.contextmanager
def eager_operations(
    callback: Callable[..., None],
    gradients: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda f: f,
) -> Iterator[None]:
    """Makes all code run eagerly and reports each operation, until the block ends.

    Args:
        callback, gradients: as `compat.tensorflow.operations_watched` takes them.
    """
    with operations_watched(callback, gradients), eagerly():
        yield


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _can_be_bad(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def _count(tensor: Any) -> Counts:
    return count(tensor.numpy()) if _can_be_bad(tensor) else Counts()


def _details(op_type: str, inputs: Sequence[Any], output: Any) -> Details:
    arrays = [t.numpy() for t in inputs if t.dtype not in (tf.resource, tf.variant)]
    value = output if isinstance(output, np.ndarray | np.generic) else output.numpy()
    value = np.asarray(value)
    with np.errstate(all="ignore"):
        return Details(
            operations.measure(op_type, arrays),
            operations.finding(op_type, arrays, value.dtype.name),
            int(value.size),
            list(value.shape),
            value.dtype.name,
            bad_rows(value),
        )


def _coinciding(output: Any, sources: list[Any]) -> list[Any]:
    """Returns the inputs that are non-finite where the output is."""
    bad = ~np.isfinite(output.numpy())
    found = [
        t
        for t in sources
        if t.shape != output.shape or (bad & ~np.isfinite(t.numpy())).any()
    ]
    return found or sources


def _chosen(inputs: Sequence[Any], output: Any, sources: list[Any]) -> list[Any]:
    """Returns the branches of a `where` whose non-finite elements came through."""
    condition, yes, no = inputs
    bad = ~np.isfinite(output.numpy())
    chosen = np.asarray(condition.numpy())
    if inputs and chosen.ndim == 1 and bad.ndim > 1 and len(chosen) == len(bad):
        chosen = chosen.reshape(-1, *[1] * (bad.ndim - 1))  # the older operation's rule
    try:
        chosen = np.broadcast_to(chosen, bad.shape)
    except ValueError:
        return sources
    taken = [yes] if (bad & chosen).any() else []
    taken += [no] if (bad & ~chosen).any() else []
    ids = {tensor_id(t) for t in sources}
    return [t for t in taken if tensor_id(t) in ids] or sources


def _peak_memory() -> int:
    """Returns the most bytes that the process has held so far; 0 where unknown."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:  # on Windows
        return 0
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
