"""Probes inside the compiled training step: all that depends on TensorFlow.

Every step computes half the sum of squares of each watched tensor (one fused
kernel each) and writes them as one row into a ring buffer. A finite sum of
squares proves that every element is finite, and gives the root mean square. A
step whose row stands out (its sum is not finite, or has grown beyond its limit, or
a look was asked for) takes the slow branch of a conditional, which hands the very tensors of that step to NumPy on the host: exact
counts and ranges, at no cost to the steps in which nothing happens.

The rest of the writing side sees this module through `Observer` and `Instrument`
alone; a port to another Keras backend replaces this file.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.schema import KINDS, Kind, Phase, Probe
from tb_nanwatch.writing.observer import (
    LOOK_NEXT,
    Expectation,
    Floats,
    Layout,
    Observer,
)

# Rows of the ring. More rows mean fewer reads from the host; at 1 ms a step the
# read (about 0.1 ms) is then 0.04 % of the time. Seconds bound it for slow steps.
RING_ROWS: Final = 256
READ_INTERVAL_SECONDS: Final = 1.0
# Bytes one ring may take; a model of 100,000 probes gets fewer rows.
_MAX_RING_BYTES: Final = 64 << 20
# Kinds whose integer tensors are watched too: labels can be out of range.
_DATA: Final = ("input", "label", "sample_weight")
# Half a sum of squares is never negative: this is no row of any step.
_UNWRITTEN: Final = -1.0
# Calls of one layer in one step that get a probe each (unrolled recurrences).
MAX_CALLS: Final = 64


class _Ring:
    """The variables of one layout on one replica."""

    def __init__(
        self, layout: Layout, replica: int, step: ResourceVariable, rows: int
    ) -> None:
        width = layout.num_columns + layout.has_batch
        self.layout, self.replica, self.step = layout, replica, step
        self.size = max(rows, min(RING_ROWS, _MAX_RING_BYTES // (4 * width)))
        self.values = ResourceVariable(self._empty(width), trainable=False)
        # Nothing is known before the first step, so that it is looked at in full.
        self.limit = ResourceVariable(np.float32(LOOK_NEXT), trainable=False)
        self.expectation = Expectation(LOOK_NEXT, np.zeros(layout.num_columns, np.bool_))
        self.read_to = 0

    def _empty(self, width: int) -> Floats:
        return np.full((self.size, width), _UNWRITTEN, np.float32)

    def take(self, alone: bool) -> list[tuple[int, Floats]]:
        """Returns the rows since the last call: first step and rows of each stretch.

        Args:
            alone: no other layout wrote any of the steps.
        """
        step = int(self.step.numpy())
        first = max(self.read_to, step - self.size)
        self.read_to = step
        if first == step:
            return []
        steps = np.arange(first, step)
        rows = self.values.numpy()[steps % self.size]
        if alone:
            return [(first, rows)]
        mine = rows[:, 0] != _UNWRITTEN
        # A row that stays would be taken for one of a later step.
        self.values.assign(self._empty(rows.shape[1]))
        steps, rows = steps[mine], rows[mine]
        cuts = np.flatnonzero(np.diff(steps) != 1) + 1
        stretches = zip(np.split(steps, cuts), np.split(rows, cuts), strict=True)
        return [(int(s[0]), r) for s, r in stretches if len(s)]

    def expect(self, expectation: Expectation) -> None:
        """Sets what the rows from the next step on are compared with."""
        self.expectation = expectation
        # While something is bad every step takes the branch, so that its end is seen;
        # whether it stands out is then told from its row.
        limit = LOOK_NEXT if expectation.bad.any() else expectation.limit
        self.limit.assign(np.float32(limit))

    def ask(self) -> None:
        """Has the next step looked at in full."""
        self.expect(self.expectation._replace(limit=LOOK_NEXT))


@dataclass
class _Found:
    """A tensor met while the step is traced."""

    kind: Kind
    name: str
    layer: str
    tensor: Any


@dataclass
class _Trace(threading.local):
    """What one thread has met of the step that it is tracing (or running)."""

    graph: Any = None
    found: list[_Found] | None = None
    calls: dict[str, int] = field(default_factory=dict)
    # Layers met in another graph: in a loop or branch, or while shapes are inferred.
    inner: set[str] = field(default_factory=set)


def check_supported(model: Any) -> None:
    """Raises `UnsupportedError` where `model` cannot be watched at all."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UnsupportedError(
            f"NaN Watch watches Keras 3 on TensorFlow; the backend here is {backend!r}. "
            'Set the environment variable KERAS_BACKEND="tensorflow" before importing keras.'
        )
    if not isinstance(model, keras.Model):
        raise UnsupportedError(
            f"NaN Watch watches Keras 3 models; received {type(model).__module__}."
            f"{type(model).__name__}. Build the model with `keras`, not with `tf_keras`."
        )


class Instrument:
    """Installs the probes in a model, reads the rings, and takes all out again.

    Args:
        model: the model that is being fitted.
        observer: receives what is seen.
        activations_only: leaves out gradients, slots, weights and layer state.
        after_call: called after each execution of the training function, on the
            training's own thread; may raise to end the training.
        after_read: called after the rings were read because they were due.
        on_error: called with an exception that leaves the training function.
        on_failure: called with an exception of watching itself, which ends nothing.
    """

    def __init__(
        self,
        model: Any,
        observer: Observer,
        *,
        activations_only: bool = False,
        after_call: Callable[[], None] = lambda: None,
        after_read: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = lambda e: None,
        on_failure: Callable[[Exception], None] = lambda e: None,
    ) -> None:
        check_supported(model)
        self._model = model
        self._observer = observer
        self._activations_only = activations_only
        self._after_call = after_call
        self._after_read = after_read
        self._on_error = on_error
        self._on_failure = on_failure
        self._hooked: list[tuple[Any, str]] = []
        self._trace = _Trace()
        self._rings: dict[Phase, list[_Ring]] = {"train": [], "validation": []}
        self._layouts: list[Layout] = []
        self._steps: dict[tuple[Phase, int], ResourceVariable] = {}
        self._lock = threading.Lock()
        self._jitted: list[Any] = []
        self._jit = False
        self._installed = False
        strategy = model.distribute_strategy
        self._replicas = int(getattr(strategy, "num_replicas_in_sync", 1))
        self._variables: dict[int, tuple[Kind, str, str]] = {}
        self._calls: dict[Phase, int] = {"train": 0, "validation": 0}
        # Calls after which the rings are full; the first call makes them.
        self._calls_due: dict[Phase, int] = {"train": 1, "validation": 1}
        self._read_at = time.monotonic()
        self.notes: list[str] = []

    # --- Installing -----------------------------------------------------------

    def install(self, fit: object) -> None:
        """Hooks the model and has its functions traced anew.

        Args:
            fit: stands for the running `fit`, weakly referenced. Hooks that another
                fit left behind (it died before it could take them out) go first;
                another instrument of the same fit stays, and sees what it saw.
        """
        model = self._model
        shared = _INSTALLED.get(model)
        if shared is not None and shared.fit() is not fit:
            for stale in list(shared.instruments):
                stale.uninstall()
            shared = None
        if shared is None:
            shared = _Installed(
                weakref.ref(fit), model.train_function, model.test_function
            )
            _INSTALLED[model] = shared
        shared.instruments.append(self)
        self._installed = True
        try:
            self._name_everything()
            self._hook_calls()
            self._hook(model, "compute_loss", self._watch_loss)
            for optimizer in self._optimizers():
                self._hook(optimizer, "apply", self._watch_apply)
            self._hook(model, "train_step", self._watch_step("train"))
            self._hook(model, "test_step", self._watch_step("validation"))
            self._make_functions(shared)
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Takes every hook out; the model is as it was. Safe to call again."""
        if not self._installed:
            return
        self._installed = False
        for owner, name in reversed(self._hooked):
            _unwrap(owner, name)
        self._hooked.clear()
        self._jitted.clear()
        shared = _INSTALLED.get(self._model)
        if shared is not None:
            shared.instruments.remove(self)
            if not shared.instruments:
                self._model.train_function = shared.train_function
                self._model.test_function = shared.test_function
                del _INSTALLED[self._model]

    def _hook(self, owner: Any, name: str, wrap: Callable[[Any, Any], Any]) -> None:
        """Puts `wrap(owner, original)` in front of a method, on the instance alone."""
        wrapper = wrap(owner, getattr(owner, name))
        wrapper.nanwatch_hook = _Hook(self, owner.__dict__.get(name))
        # Not through __setattr__, which in Keras tracks what is set.
        owner.__dict__[name] = wrapper
        self._hooked.append((owner, name))

    def _make_functions(self, shared: _Installed) -> None:
        model = self._model
        # With XLA the probes stand outside the compiled cluster, which hands the
        # tensors out: many small reductions take XLA on CPU long to compile, and
        # NumPy cannot be called from within.
        self._jit = model.jit_compile is True
        jit_compile = model._jit_compile
        if self._jit:
            model.jit_compile = False
        try:
            model.make_train_function(force=True)
            model.make_test_function(force=True)
        finally:
            model._jit_compile = jit_compile
        for instrument in shared.instruments:
            model.train_function = instrument._watch_function(
                "train", model.train_function
            )
            model.test_function = instrument._watch_function(
                "validation", model.test_function
            )

    def _watch_function(self, phase: Phase, function: Callable[[Any], Any]) -> Any:
        def watched(iterator: Any) -> Any:
            if not self._installed:
                return function(iterator)
            try:
                out = function(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                raise  # the end of the data
            except BaseException as e:
                self._on_error(e)
                raise
            self._calls[phase] += 1
            if (
                self._calls[phase] >= self._calls_due[phase]
                or time.monotonic() - self._read_at > READ_INTERVAL_SECONDS
            ):
                try:
                    self.read()
                    self._after_read()
                except Exception as e:  # watching must never end a training
                    self._on_failure(e)
                    return out
            self._after_call()
            return out

        return watched

    # --- Reading --------------------------------------------------------------

    def read(self) -> None:
        """Hands all rows since the last reading to the observer."""
        self._read_at = time.monotonic()
        steps_per_call = max(1, int(self._model.steps_per_execution))
        for phase, rings in self._rings.items():
            self._calls[phase] = 0
            smallest = min((ring.size for ring in rings), default=1)
            self._calls_due[phase] = max(1, smallest // steps_per_call)
            taken = [
                (first, ring.replica, ring.layout, rows)
                for ring in rings
                for first, rows in ring.take(len(rings) == self._replicas)
            ]
            for first, replica, layout, rows in sorted(taken, key=lambda t: t[:2]):
                self._observer.rows(layout, replica, first, rows)

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""
        step = self._steps.get((phase, 0))
        return 0 if step is None else int(step.numpy())

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""
        for ring in self._rings[phase]:
            ring.ask()

    # --- Names ----------------------------------------------------------------

    def _name_everything(self) -> None:
        self._variables = {}
        for path, layer in _walk(self._model):
            lists: tuple[tuple[Kind, Any], ...] = (
                ("weight", layer._trainable_variables),  # a frozen layer's too
                ("layer_state", layer._non_trainable_variables),
            )
            for kind, variables in lists:
                for variable in variables:
                    name = f"{path}/{variable.name}" if path else variable.name
                    self._variables.setdefault(id(variable), (kind, name, path))

    def _known(self, variable: Any) -> tuple[Kind, str, str]:
        """Returns the kind, name and layer path of a model's variable."""
        if id(variable) not in self._variables:
            self._name_everything()  # of a layer that was built at the first batch
        kind: Kind = "weight" if variable.trainable else "layer_state"
        return self._variables.get(id(variable), (kind, variable.path, ""))

    def _optimizers(self) -> list[Any]:
        found = [self._model.optimizer] if self._model.optimizer is not None else []
        for value in vars(self._model).values():
            if isinstance(value, keras.optimizers.Optimizer) and value not in found:
                found.append(value)
        return found

    # --- Hooks ----------------------------------------------------------------

    def _hook_calls(self) -> None:
        for path, operation in _walk(self._model, calls=True):
            kind: Kind = "activation" if path else "prediction"
            self._hook(operation, "call", self._watch_call(kind, path))
            if isinstance(operation, keras.layers.RNN):
                self._note(
                    f"values inside the loop of {path!r} are not watched, its output is"
                )
        compiled = getattr(self._model, "_compile_loss", None)
        if compiled is not None:
            self._hook(compiled, "build", self._watch_loss_build)
            self._hook_losses(compiled)

    def _hook_losses(self, compiled: Any) -> None:
        for name, loss in _losses(compiled):
            self._hook(loss, "call", self._watch_loss_function(name))

    def _watch_loss_build(self, compiled: Any, build: Any) -> Any:
        # The loss objects are made when the first batch is seen.
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = build(*args, **kwargs)
            if self._installed:
                self._hook_losses(compiled)
            return result

        return watched

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _watch_call(self, kind: Kind, path: str) -> Callable[[Any, Any], Any]:
        def wrap(operation: Any, call: Any) -> Any:
            def watched(*args: Any, **kwargs: Any) -> Any:
                outputs = call(*args, **kwargs)
                if self._trace.found is not None:
                    self._add_outputs(kind, path or "prediction", path, outputs)
                return outputs

            return watched

        return wrap

    def _watch_loss(self, model: Any, compute_loss: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            loss = compute_loss(*args, **kwargs)
            if self._trace.found is not None and loss is not None:
                self._add("loss", "total", "", loss)
            return loss

        return watched

    def _watch_loss_function(self, name: str) -> Callable[[Any, Any], Any]:
        def wrap(loss: Any, call: Any) -> Any:
            def watched(*args: Any, **kwargs: Any) -> Any:
                values = call(*args, **kwargs)
                if self._trace.found is not None:
                    self._add("loss", self._numbered("loss", name), "", values)
                return values

            return watched

        return wrap

    def _watch_apply(self, optimizer: Any, apply: Any) -> Any:
        def watched(grads: Any, trainable_variables: Any = None) -> Any:
            if self._trace.found is not None and not self._activations_only:
                grads = list(grads)
                variables = (
                    list(trainable_variables)
                    if trainable_variables is not None
                    else list(getattr(optimizer, "_trainable_variables", ()))
                )
                pairs = list(zip(grads, variables, strict=False))
                for grad, variable in reversed(pairs):  # as they are computed
                    if grad is not None:
                        _, name, layer = self._known(variable)
                        name = self._numbered("gradient", name)
                        self._add("gradient", name, layer, grad)
            return apply(grads, trainable_variables)

        return watched

    def _watch_step(self, phase: Phase) -> Callable[[Any, Any], Any]:
        def wrap(model: Any, step: Any) -> Any:
            def watched(data: Any) -> Any:
                if not self._installed:
                    return step(data)
                if self._jit and not model.run_eagerly:
                    logs, found = self._compiled_step(phase, step, data)
                else:
                    logs, found = self._found_in_step(phase, step, data)
                self._record(phase, found)
                return logs

            return tf.autograph.experimental.do_not_convert(watched)

        return wrap

    def _compiled_step(
        self, phase: Phase, step: Any, data: Any
    ) -> tuple[Any, list[_Found]]:
        kept: list[_Found] = []

        def run(data: Any) -> Any:
            logs, found = self._found_in_step(phase, step, data)
            kept[:] = found
            return logs, [f.tensor for f in found]

        compiled = tf.function(run, jit_compile=True, autograph=False)
        self._jitted.append(compiled)
        logs, tensors = compiled(data)
        return logs, [
            _Found(f.kind, f.name, f.layer, tensor)
            for f, tensor in zip(kept, tensors, strict=True)
        ]

    def _found_in_step(
        self, phase: Phase, step: Any, data: Any
    ) -> tuple[Any, list[_Found]]:
        trace = self._trace
        with _tracing(trace):
            self._add_data(data)
            logs = step(data)
            found = trace.found or []
            has_loss = any(f.kind == "loss" for f in found)
            if isinstance(logs, dict):
                for name, value in logs.items():
                    # Keras' own "loss" is the mean so far of what is watched already.
                    if name == "loss" and has_loss:
                        continue
                    self._add("loss" if name == "loss" else "metric", name, "", value)
            if phase == "train" and not self._activations_only:
                self._add_variables()
            for name in sorted(trace.inner - {f.layer for f in found} - {""}):
                self._note(
                    f"{name!r} is called in a loop or branch, where it is not watched"
                )
            return logs, list(found)

    def _add_data(self, data: Any) -> None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        parts: tuple[tuple[Kind, Any], ...] = (
            ("input", x),
            ("label", y),
            ("sample_weight", sample_weight),
        )
        for kind, tree in parts:
            self._add_outputs(kind, kind, "", tree)

    def _add_variables(self) -> None:
        seen: set[int] = set()
        for optimizer in self._optimizers():
            skipped = _no_slots(optimizer)
            for variable in optimizer.variables:
                if id(variable) not in skipped and id(variable) not in seen:
                    seen.add(id(variable))
                    self._add("optimizer", variable.path, "", _value(variable))
        metrics = {id(v) for v in self._model.metrics_variables}
        for variable in self._model.variables:
            if id(variable) not in seen and id(variable) not in metrics:
                seen.add(id(variable))
                kind, name, layer = self._known(variable)
                self._add(kind, name, layer, _value(variable))

    def _add_outputs(self, kind: Kind, name: str, layer: str, outputs: Any) -> None:
        base = (
            self._numbered(kind, name) if kind in ("activation", "prediction") else name
        )
        leaves = keras.tree.flatten_with_path(outputs) if outputs is not None else []
        for path, leaf in leaves:
            suffix = "".join(f"[{part!r}]" for part in path)
            self._add(kind, base + suffix, layer, leaf)

    def _numbered(self, kind: str, name: str) -> str:
        """Returns `name` for the first call in a step, "name (call 2)" for the next."""
        key = f"{kind}:{name}"
        n = self._trace.calls[key] = self._trace.calls.get(key, 0) + 1
        return name if n == 1 else f"{name} (call {n})"

    def _add(self, kind: Kind, name: str, layer: str, value: Any) -> None:
        tensor = _as_tensor(value)
        trace = self._trace
        if tensor is None or trace.found is None:
            return
        if not _can_be_bad(tensor) and (kind not in _DATA or not tensor.dtype.is_integer):
            return
        if trace.graph is not None and getattr(tensor, "graph", None) is not trace.graph:
            trace.inner.add(layer)
            return
        if trace.calls.get(f"{kind}:{layer}", 0) > MAX_CALLS:
            self._note(
                f"only the first {MAX_CALLS} calls of {layer!r} in a step are watched"
            )
            return
        trace.found.append(_Found(kind, name, layer, tensor))

    # --- What the step computes -----------------------------------------------

    def _record(self, phase: Phase, found: list[_Found]) -> None:
        """Adds the row, the ring and the slow branch to the step."""
        order = {kind: i for i, kind in enumerate(KINDS)}
        found = sorted(found, key=lambda f: order[f.kind])  # stable: call order stays
        unique: dict[int, Any] = {}
        for f in found:
            unique.setdefault(id(f.tensor), f.tensor)
        # Tensors that can be non-finite first: they are the ring's columns.
        tensors = sorted(unique.values(), key=lambda t: not _can_be_bad(t))
        place = {id(t): i for i, t in enumerate(tensors)}
        columns = [t for t in tensors if _can_be_bad(t)]
        if not columns:
            return
        batch = _batch_size(found)
        layout = self._layout(phase, found, place, len(columns), batch is not None)
        replica = _replica_id()
        ring = self._ring(layout, replica)
        sums = [_half_sum_of_squares(t) for t in columns]
        row = tf.stack(sums if batch is None else [*sums, batch])
        step = ring.step.read_value()
        tf.raw_ops.ResourceScatterUpdate(
            resource=ring.values.handle,
            indices=tf.math.floormod(step, ring.size),
            updates=row,
        )

        def look(_: Any, step: Any, row: Any, *arrays: Any) -> Any:
            try:
                if ring.expectation.stands_out(row[: layout.num_columns]):
                    ring.expect(
                        self._observer.observe(layout, replica, int(step), arrays)
                    )
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be looked at: {type(e).__name__}: {e}")
            return np.int64(1)

        calm = tf.add_n(sums) <= ring.limit.read_value()
        one = _one_after(calm, look, [step, row, *tensors])
        ring.step.assign_add(one, read_value=False)

    def _layout(
        self,
        phase: Phase,
        found: list[_Found],
        place: dict[int, int],
        n: int,
        has_batch: bool,
    ) -> Layout:
        probes = [_probe(f) for f in found]
        keys = [(p.kind, p.name) for p in probes]
        sources = [place[id(f.tensor)] for f in found]
        columns = [s if s < n else -1 for s in sources]
        with self._lock:
            for layout in self._layouts:
                if (
                    layout.phase == phase
                    and layout.columns == columns
                    and layout.has_batch == has_batch
                    and [(p.kind, p.name) for p in layout.probes] == keys
                ):
                    return layout
            layout = Layout(phase, probes, columns, sources, n, has_batch)
            self._layouts.append(layout)
            return layout

    def _ring(self, layout: Layout, replica: int) -> _Ring:
        rows = 2 * int(self._model.steps_per_execution)
        # Made outside the traced function, and as plain variables even under a
        # distribution strategy: mirrored ones misreport a fault of one replica.
        with self._lock, tf.init_scope():
            for ring in self._rings[layout.phase]:
                if ring.layout is layout and ring.replica == replica:
                    return ring
            key = (layout.phase, replica)
            if key not in self._steps:
                self._steps[key] = ResourceVariable(np.int64(0), trainable=False)
            ring = _Ring(layout, replica, self._steps[key], rows)
            self._rings[layout.phase].append(ring)
            return ring


class _Hook(NamedTuple):
    """Belongs to a wrapper: who installed it, and what stood on the instance."""

    instrument: Instrument
    previous: Any


def _unwrap(owner: Any, name: str) -> None:
    """Takes the wrappers of uninstalled instruments off, from the outside in."""
    current = owner.__dict__.get(name)
    while (
        hook := getattr(current, "nanwatch_hook", None)
    ) and not hook.instrument._installed:
        current = hook.previous
    if current is None:
        owner.__dict__.pop(name, None)
    else:
        owner.__dict__[name] = current


@dataclass
class _Installed:
    """What the instruments of one model share."""

    fit: weakref.ref[Any]
    train_function: Any
    test_function: Any
    instruments: list[Instrument] = field(default_factory=list)


_INSTALLED: weakref.WeakKeyDictionary[Any, _Installed] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def _tracing(trace: _Trace) -> Iterator[None]:
    outer = (trace.graph, trace.found, trace.calls, trace.inner)
    eager = tf.executing_eagerly()
    trace.graph = None if eager else tf.compat.v1.get_default_graph()
    trace.found, trace.calls, trace.inner = [], {}, set()
    try:
        yield
    finally:
        trace.graph, trace.found, trace.calls, trace.inner = outer


def _walk(model: Any, calls: bool = False) -> Iterator[tuple[str, Any]]:
    """Yields (path, layer) for the model (path "") and everything below it.

    Args:
        model: a model.
        calls: what is called, rather than what has variables. The `keras.ops` that
            stand in a Functional graph are yielded too: they are no layers, and
            without them the next layer gets the blame. The cells of recurrent
            layers and the layer in a TimeDistributed are not: they run in a loop,
            or many times a step, and the output is watched.
    """
    seen: set[int] = set()
    names: dict[str, int] = {}

    def visit(path: str, layer: Any) -> Iterator[tuple[str, Any]]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        names[path] = names.get(path, 0) + 1
        if names[path] > 1:  # two different layers of one name
            path = f"{path}~{names[path]}"
        yield path, layer
        if calls and isinstance(layer, keras.layers.RNN | keras.layers.TimeDistributed):
            return
        for child in _children(layer):
            if isinstance(child, keras.layers.InputLayer) or _is_internal(layer, child):
                continue
            if calls or isinstance(child, keras.Layer):
                yield from visit(f"{path}/{child.name}" if path else child.name, child)

    yield from visit("", model)


def _children(layer: Any) -> list[Any]:
    if not isinstance(layer, keras.Layer):
        return []
    children = list(getattr(layer, "operations", ()) or ())
    if isinstance(layer, keras.Sequential):
        children = list(layer.layers)
    return children + [c for c in layer._layers if c not in children]


def _is_internal(parent: Any, child: Any) -> bool:
    # A Sequential keeps a Functional twin of itself, which calls the same layers.
    return isinstance(parent, keras.Sequential) and child is getattr(
        parent, "_functional", None
    )


def _losses(compiled: Any) -> list[tuple[str, Any]]:
    """Returns name and loss object of each loss, in the order in which they are called."""
    found: list[tuple[str, Any]] = []
    for entry in getattr(compiled, "_flat_losses", None) or ():
        loss = getattr(entry, "loss", None)
        if isinstance(loss, keras.losses.Loss) and all(
            loss is not other for _, other in found
        ):
            found.append((str(entry.name or loss.name), loss))
    return found


def _no_slots(optimizer: Any) -> set[int]:
    """Returns ids of the optimizer's variables that belong to no weight's update."""
    ids: set[int] = set()
    while optimizer is not None:  # a LossScaleOptimizer wraps another one
        ids |= {id(optimizer.iterations), id(getattr(optimizer, "_learning_rate", None))}
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return ids


def _value(variable: Any) -> Any:
    """Returns the variable's value as a tensor, read where the call stands."""
    return tf.convert_to_tensor(variable.value)


def _as_tensor(value: Any) -> Any:
    """Returns the tensor whose elements are the value's, None where it has none."""
    if isinstance(value, tf.IndexedSlices | tf.SparseTensor):
        return value.values
    if isinstance(value, tf.RaggedTensor):
        return value.flat_values
    if isinstance(value, keras.Variable):
        return _value(value)
    if isinstance(value, tf.Variable):
        return value.read_value()
    if isinstance(value, float | np.floating | np.ndarray):
        return tf.convert_to_tensor(value)
    return value if isinstance(value, tf.Tensor) else None


def _can_be_bad(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def _half_sum_of_squares(tensor: Any) -> Any:
    if tensor.dtype.is_complex:
        tensor = tf.abs(tensor)
    if tensor.dtype.size < 4:  # half precision would overflow at 256
        tensor = tf.cast(tensor, tf.float32)
    return tf.cast(tf.nn.l2_loss(tensor), tf.float32)


def _one_after(calm: Any, look: Callable[..., Any], inputs: list[Any]) -> Any:
    """Returns the int64 scalar 1, after `look(1, *inputs)` unless `calm` is true.

    `tf.cond` would put a switch in front of every input, which costs a small model a
    twentieth of its step. On CPU one switch is enough: a node with one dead input does
    not run, whatever its other inputs. Where tensors would have to be copied from an
    accelerator before that is known, or without a graph, it is `tf.cond`.
    """
    one = tf.constant(1, tf.int64)
    if tf.executing_eagerly() or tf.config.list_logical_devices("GPU"):
        return tf.cond(
            calm, lambda: one, lambda: tf.numpy_function(look, [one, *inputs], tf.int64)
        )
    stood_out, was_calm = tf.raw_ops.Switch(data=one, pred=calm)
    # Not stateful to TensorFlow: the step would be made to wait for it, dead or not.
    looked = tf.numpy_function(look, [stood_out, *inputs], tf.int64, stateful=False)
    merged, _ = tf.raw_ops.Merge(inputs=[was_calm, looked])
    merged.set_shape([])
    return merged


def _batch_size(found: list[_Found]) -> Any:
    """Returns the batch size as a float32 scalar where shapes do not fix it."""
    if all(f.tensor.shape.is_fully_defined() for f in found):
        return None
    for f in found:
        if f.kind == "input" and f.tensor.shape.rank:
            return tf.cast(tf.shape(f.tensor)[0], tf.float32)
    return None


def _probe(f: _Found) -> Probe:
    shape = f.tensor.shape
    dims = list(shape) if shape.rank is not None else []
    return Probe(f.kind, f.name, f.layer, f.tensor.dtype.name, dims)


def _replica_id() -> int:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    replica = context.replica_id_in_sync_group
    if isinstance(replica, int):
        return replica
    static = tf.get_static_value(replica)
    return 0 if static is None else int(static)
