"""Hooks a model, reads what its steps wrote, and takes the hooks out again."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import keras
import tensorflow as tf

from tb_nanwatch.compat import keras as private
from tb_nanwatch.compat.names import Feature, has, require
from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.schema import Kind, Phase
from tb_nanwatch.writing.observer import Observer
from tb_nanwatch.writing.probes.capture import Capture
from tb_nanwatch.writing.probes.names import (
    build_optimizer,
    losses,
    optimizers,
    updates_by_gradients_alone,
    walk,
)
from tb_nanwatch.writing.probes.ops import after
from tb_nanwatch.writing.probes.step import Step, StepGraph
from tb_nanwatch.writing.probes.tracing import Found, Tracer, in_causal_order

READ_INTERVAL_SECONDS: Final = 1.0


class _Current(threading.local):
    """The step that a thread is tracing, where its updates can be made to wait."""

    step: Step | None = None


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
    require(Feature.WATCHING)


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
        capture_bytes: the largest capsule that is kept of a bad step; 0 keeps none.
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
        capture_bytes: int = 0,
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
        self._tracer = Tracer(model, self._note)
        self._current = _Current()
        keeps = capture_bytes > 0 and has(Feature.CAPSULE)
        self.capture = Capture(model, capture_bytes) if keeps else None
        self._graph = StepGraph(
            observer,
            self.capture,
            lambda: int(model.steps_per_execution),
            self._note,
        )
        self._jitted: list[Any] = []
        self._jit = False
        self._installed = False
        strategy = model.distribute_strategy
        self._replicas = int(getattr(strategy, "num_replicas_in_sync", 1))
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
            self._hook_parts()
            self._hook(model, "train_step", self._watch_step("train"))
            self._hook(model, "test_step", self._watch_step("validation"))
            self._make_functions(shared)
        except BaseException:
            self.uninstall()
            raise

    def run_eagerly(self, phase: Phase, data: Any) -> list[Found]:
        """Runs one step operation by operation and returns its watched tensors.

        Args:
            phase: which step.
            data: the batch, as `train_step` receives it.
        """
        model = self._model
        self._installed = True
        try:
            self._hook_parts()
            # Not through the hook of another instrument, which would take it for a step.
            step = _original(model, "train_step" if phase == "train" else "test_step")
            _, found = self._found_in_step(phase, step, data)
        finally:
            self.uninstall()
        return in_causal_order(found)

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
        if shared is not None and self in shared.instruments:
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
        with private.without_xla(model):
            model.make_train_function(force=True)
            model.make_test_function(force=True)
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
        for phase, rings in self._graph.rings.items():
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
        return self._graph.steps(phase)

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""
        for ring in self._graph.rings[phase]:
            ring.ask()

    # --- Hooks ----------------------------------------------------------------

    def _hook_parts(self) -> None:
        """Hooks what a step is made of, but not the step itself."""
        self._tracer.name_variables()
        self._hook_calls()
        self._hook(self._model, "compute_loss", self._watch_loss)
        for optimizer in optimizers(self._model):
            self._hook(optimizer, "apply", self._watch_apply)

    def _hook_calls(self) -> None:
        for path, operation in walk(self._model, calls=True):
            kind: Kind = "activation" if path else "prediction"
            self._hook(operation, "call", self._watch_call(kind, path))
            if isinstance(operation, keras.layers.RNN):
                self._note(
                    f"values inside the loop of {path!r} are not watched, its output is"
                )
        compiled = private.compiled_loss(self._model)
        if compiled is not None:
            self._hook(compiled, "build", self._watch_loss_build)
            self._hook_losses(compiled)

    def _hook_losses(self, compiled: Any) -> None:
        for name, loss in losses(compiled):
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
                if self._tracer.active:
                    self._tracer.add_outputs(kind, path or "prediction", path, outputs)
                return outputs

            return watched

        return wrap

    def _watch_loss(self, model: Any, compute_loss: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            loss = compute_loss(*args, **kwargs)
            if self._tracer.active and loss is not None:
                self._tracer.add("loss", "total", "", loss)
            return loss

        return watched

    def _watch_loss_function(self, name: str) -> Callable[[Any, Any], Any]:
        def wrap(loss: Any, call: Any) -> Any:
            def watched(*args: Any, **kwargs: Any) -> Any:
                values = call(*args, **kwargs)
                if self._tracer.active:
                    self._tracer.add(
                        "loss", self._tracer.numbered("loss", name), "", values
                    )
                return values

            return watched

        return wrap

    def _watch_apply(self, optimizer: Any, apply: Any) -> Any:
        def watched(grads: Any, trainable_variables: Any = None) -> Any:
            tracer, step = self._tracer, self._current.step
            grads = list(grads)
            variables = (
                list(trainable_variables)
                if trainable_variables is not None
                else private.optimized_variables(optimizer)
            )
            if tracer.active and not self._activations_only:
                tracer.add_gradients(grads, variables)
            if step is not None and tracer.in_step:
                if trainable_variables is not None and grads:
                    build_optimizer(optimizer, variables)
                kept = self._graph.gate(step, tracer.found)
                if kept is not None and updates_by_gradients_alone(optimizer):
                    grads = [after(kept, gradient) for gradient in grads]
                elif kept is not None:
                    with tf.control_dependencies([kept]):
                        return apply(grads, trainable_variables)
            return apply(grads, trainable_variables)

        return watched

    def _watch_step(self, phase: Phase) -> Callable[[Any, Any], Any]:
        def wrap(model: Any, train_step: Any) -> Any:
            def watched(data: Any) -> Any:
                if not self._installed:
                    return train_step(data)
                compiled = self._jit and not model.run_eagerly
                step = self._graph.begin(phase, data, compiled)
                if compiled:
                    logs, found = self._compiled_step(step, train_step, data)
                else:
                    self._current.step = step
                    try:
                        logs, found = self._found_in_step(phase, train_step, data)
                    finally:
                        self._current.step = None
                self._graph.record(step, found)
                return logs

            return tf.autograph.experimental.do_not_convert(watched)

        return wrap

    def _compiled_step(
        self, step: Step, train_step: Any, data: Any
    ) -> tuple[Any, list[Found]]:
        kept: list[Found] = []

        def run(data: Any) -> Any:
            logs, found = self._found_in_step(step.phase, train_step, data)
            kept[:] = found
            step.learn(found)
            return logs, [f.tensor for f in found], step.proofs.tensors

        compiled = tf.function(run, jit_compile=True, autograph=False)
        self._jitted.append(compiled)
        logs, tensors, others = compiled(data)
        place = {id(f.tensor): t for f, t in zip(kept, tensors, strict=True)}
        found = [
            Found(f.kind, f.name, f.layer, tensor)
            for f, tensor in zip(kept, tensors, strict=True)
        ]
        step.proofs, step.proved = step.proofs.moved(place, others), True
        return logs, found

    def _found_in_step(
        self, phase: Phase, train_step: Any, data: Any
    ) -> tuple[Any, list[Found]]:
        tracer = self._tracer
        with tracer.tracing() as found:
            tracer.add_data(data)
            logs = train_step(data)
            tracer.add_logs(logs)
            if phase == "train" and not self._activations_only:
                tracer.add_variables()
            return logs, list(found)


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


def _original(owner: Any, name: str) -> Any:
    """Returns the method as it is without any instrument."""
    current = getattr(owner, name)
    while hook := getattr(current, "nanwatch_hook", None):
        current = hook.previous or getattr(type(owner), name).__get__(owner)
    return current


@dataclass
class _Installed:
    """What the instruments of one model share."""

    fit: weakref.ref[Any]
    train_function: Any
    test_function: Any
    instruments: list[Instrument] = field(default_factory=list)


_INSTALLED: weakref.WeakKeyDictionary[Any, _Installed] = weakref.WeakKeyDictionary()
