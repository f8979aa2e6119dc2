# SPDX-License-Identifier: Apache-2.0
"""Hooks a model, reads what its steps wrote, and takes the hooks out again."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import tensorflow as tf

from tb_nanwatch.compat import keras as private
from tb_nanwatch.compat.names import Feature, MissingError, has
from tb_nanwatch.compat.tensorflow import eager_random
from tb_nanwatch.errors import warn
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.postmortem.variables import trained_variables, variables_of
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.apart import KeptApart
from tb_nanwatch.writing.backends.hooks import Hooks, original
from tb_nanwatch.writing.backends.kept import UPDATED
from tb_nanwatch.writing.backends.names import (
    build_optimizer,
    updates_by_gradients_alone,
)
from tb_nanwatch.writing.backends.parts import StepParts
from tb_nanwatch.writing.backends.tensorflow.beside import (
    as_columns,
    as_observed,
    run_again,
)
from tb_nanwatch.writing.backends.tensorflow.build import build_as_keras_does, is_built
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.fits import WatchedFit
from tb_nanwatch.writing.backends.tensorflow.ops import after, function_of
from tb_nanwatch.writing.backends.tensorflow.packed import Packed, Parts, pack
from tb_nanwatch.writing.backends.tensorflow.repeatable import is_repeatable
from tb_nanwatch.writing.backends.tensorflow.rewinding import Rewinding
from tb_nanwatch.writing.backends.tensorflow.step import Standing, StepGraph
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step
from tb_nanwatch.writing.backends.tensorflow.tracing import Tracer
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import Observer

_nothing: Final = contextlib.nullcontext
READ_INTERVAL_SECONDS: Final = 1.0


def _random_is_known() -> bool:
    """Returns whether the random state of eager operations can be put back."""
    with contextlib.suppress(MissingError):
        eager_random()
        return True
    return False


class _Current(threading.local):
    """The step that a thread is tracing, where its updates can be made to wait."""

    step: Step | None = None


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
        rewind_bytes: that may be held so that steps can be run again; 0 holds nothing.
    """

    def __init__(  # noqa: PLR0913 (what it is told, once)
        self,
        model: Any,
        observer: Observer,
        *,
        activations_only: bool = False,
        after_call: Callable[[], BaseException | None] = lambda: None,
        after_read: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = lambda e: None,
        on_failure: Callable[[Exception], None] = lambda e: None,
        capture_bytes: int = 0,
        rewind_bytes: int = 0,
    ) -> None:
        self._model = model
        self._observer = observer
        self._activations_only = activations_only
        self._after_call = after_call
        self._after_read = after_read
        self._on_error = on_error
        self._on_failure = on_failure
        self._hooks: Hooks | None = None
        self._fit: WatchedFit | None = None
        # The first thing that went wrong in watching; nothing is watched from then on.
        self._trouble: Exception | None = None
        self._tracer = Tracer(model, self._note)
        self._current = _Current()
        keeps = capture_bytes > 0 and has(Feature.CAPSULE)
        # Of a step that is run again, the state is read before it and put back after it.
        self._can_run_again = (
            has(Feature.CAPSULE) and has(Feature.POST_MORTEM) and _random_is_known()
        )
        keeper = Capture(model, capture_bytes)
        self.capture = keeper if keeps else None
        self._graph = StepGraph(
            observer,
            keeper,
            keeps,
            lambda: int(model.steps_per_execution),
            self._note,
        )
        self._jitted: list[Any] = []
        self._jit = False
        # Runs steps beside the training, and its functions of them, for each batch's shape
        # with what they hand out.
        self._beside: Instrument | None = None
        self._compiled: dict[Phase, tuple[Any, list[Found]]] = {}
        self._handed_out: dict[int, list[Found]] = {}
        self._is_built = is_built(model)
        self._met_variables = False
        # Whether all that was known after the last call has been seen to.
        self._is_settled = False
        strategy = model.distribute_strategy
        self._replicas = int(getattr(strategy, "num_replicas_in_sync", 1))
        self._rewinding = self._new_rewinding(rewind_bytes)
        self._calls: dict[Phase, int] = {"train": 0, "validation": 0}
        # Calls after which the rings are full; the first call makes them.
        self._calls_due: dict[Phase, int] = {"train": 1, "validation": 1}
        self._read_at = time.monotonic()
        self.notes: list[str] = []

    def _new_rewinding(self, limit: int) -> Rewinding | None:
        if not limit or not self._can_run_again or self._replicas > 1:
            return None
        return Rewinding(
            self._model,
            limit,
            lambda: self._graph.steps("train"),
            lambda: int(self._model.steps_per_execution),
        )

    # --- Installing -----------------------------------------------------------

    def install(self, caller: fits.Caller) -> None:
        """Hooks the model and has its functions traced anew.

        Args:
            caller: the running `fit`. What a fit left behind that died before it could
                take its hooks out goes first; another instrument of the same fit stays,
                and sees what it saw; a fit around this one rests until this one is over.
        """
        model = self._model
        self._fit = fit = fits.join(
            model, caller, lambda: WatchedFit(model, caller, self._changed_by_a_step)
        )
        fit.instruments.append(self)
        self._tracer.labelled = caller.labelled
        self._hooks = hooks = Hooks()
        try:
            self._hook_parts(hooks)
            hooks.put(model, "train_step", self._watch_step("train"))
            hooks.put(model, "test_step", self._watch_step("validation"))
            fit.make_functions(self._make_functions)
        except BaseException:
            self.uninstall()
            raise

    def run_once(
        self, phase: Phase, data: Any, *, compiled: bool = False, measured: bool = False
    ) -> list[Found]:
        """Runs one step and returns its watched tensors; the model is not watched then.

        Args:
            phase: which step.
            data: the batch, as `train_step` receives it.
            compiled: as in training (by XLA, where that is so); else operation by
                operation.
            measured: layers' outputs are measured as they are met, and not held.
        """
        model = self._model
        self._tracer.measures = measured
        self._hooks = hooks = Hooks()
        try:
            self._hook_parts(hooks)
            # Not through the hook of another instrument, which would take it for a step.
            step = original(model, "train_step" if phase == "train" else "test_step")
            run = self._run_compiled if compiled else self._found_in_step
            _, found = run(phase, step, data)
        finally:
            self.uninstall()
        if self._trouble is not None:
            raise self._trouble
        return in_causal_order(found)

    def uninstall(self) -> None:
        """Takes every hook out; the model is as it was. Safe to call again."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            hooks.remove()
        rewinding, self._rewinding = self._rewinding, None
        if rewinding is not None:
            rewinding.close()
        self._jitted.clear()
        if self._fit is not None:
            self._fit.leave(self)

    def _changed_by_a_step(self) -> list[Any]:
        find = variables_of if self._can_run_again else trained_variables
        return [variable for _, variable in find(self._model)]

    def _make_functions(self) -> None:
        model = self._model
        # With XLA the step alone is compiled, by `_packed_step`: the ring is written
        # outside the cluster, from within which NumPy cannot be called.
        self._jit = model.jit_compile is True
        with private.without_xla(model):
            model.make_train_function(force=True)
            model.make_test_function(force=True)

    # --- What the fit says (`fits.Watching`) ------------------------------------

    def take_out(self) -> None:
        """Takes every hook out, whatever happens."""
        with self._kept_apart():
            self.uninstall()

    def called(self, phase: Phase) -> BaseException | None:
        """Takes in what a call of a function has brought.

        Returns:
            What is to end the training, by the user's own wish.
        """
        self._calls[phase] += 1
        if self._is_quiet(phase):
            return None
        if self._trouble is None:
            with self._kept_apart():
                return self._take_in(phase)
        if self._trouble is not None:
            self.gave_up(self._trouble)
        return None

    def _is_quiet(self, phase: Phase) -> bool:
        """Returns whether a call brought nothing: nearly all do, so this is quick."""
        return (
            self._is_settled
            and not self._graph.has_news
            and self._calls[phase] < self._calls_due[phase]
            and time.monotonic() - self._read_at <= READ_INTERVAL_SECONDS
            and (phase != "train" or self._rewinding is None or self._rewinding.passes())
        )

    def _take_in(self, phase: Phase) -> BaseException | None:
        self._is_settled = self._graph.has_news = False
        if not self._is_built:
            self._is_built = True
            self._meet_built_layers()
        for standing in self._graph.take_standing():
            with self._rewinding.aside() if self._rewinding else _nothing():
                self._look_beside(standing)
        if (
            self._calls[phase] >= self._calls_due[phase]
            or time.monotonic() - self._read_at > READ_INTERVAL_SECONDS
        ):
            self.read()
            self._after_read()
        ending = self._after_call()
        # A run that is known to be bad keeps what led there.
        if phase == "train" and self._rewinding is not None:
            if not self._met_variables and self._hooks is not None:
                self._met_variables = True
                self._rewinding.watch_changes(self._hooks)
            self._rewinding.called()
        self._is_settled = self._trouble is None
        return ending

    def passed(self, phase: Phase) -> None:
        """Notes that a callback trains or evaluates the model, which is not watched."""
        self._note(
            "a callback trained the model; these steps were not watched"
            if phase == "train"
            else "a callback evaluated the model; these evaluations were not watched"
        )

    def failed(self, error: BaseException) -> None:
        """Says that an exception of the user's leaves the training."""
        with self._kept_apart():
            self._on_error(error)

    def gave_up(self, error: Exception) -> None:
        """Says that watching failed, and that the training goes on."""
        self.take_out()
        with self._kept_apart():
            self._on_failure(error)
            return
        warn(f"NaN Watch stopped watching, training goes on: {error!r}")

    def _kept_apart(self) -> KeptApart:
        """Keeps what goes wrong in watching from the training."""

        def note(error: Exception) -> None:
            self._trouble = self._trouble or error
            self._is_settled = False

        return KeptApart(note)

    @property
    def _watching(self) -> bool:
        """Whether a step that is traced or run now is to be watched."""
        return (
            self._hooks is not None
            and self._trouble is None
            and (self._fit is None or self._fit.active)
        )

    # --- Reading --------------------------------------------------------------

    def read(self) -> None:
        """Hands all rows since the last reading to the observer."""
        self._read_at = time.monotonic()
        self._is_settled = False
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

    def validated(self) -> None:
        """Says that a validation pass is over."""
        if self._rewinding is not None:
            self._rewinding.validated()

    def went_bad(self) -> None:
        """Says that the run went bad in the call that is just over."""
        if self._rewinding is not None:
            self._rewinding.went_bad()

    @property
    def is_alone(self) -> bool:
        """Whether no other instrument watches the model."""
        return self._fit is None or self._fit.instruments in ([], [self])

    def take_tape(self, onset: int) -> Tape | str:
        """Returns what the training can be run again from; no step is watched any more.

        Args:
            onset: the training step at which it went bad.

        Returns:
            In words why not, where that is so.
        """
        if self._rewinding is None or self._fit is None:
            return (
                "rewind_bytes is 0"
                if self._replicas == 1
                else "it ran on several replicas"
            )
        return self._rewinding.take(
            onset, self._fit.train_function, self._fit.spec, self._graph.mute()
        )

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""
        for ring in self._graph.rings[phase]:
            ring.ask()

    def _look_beside(self, standing: Standing) -> None:
        """Hands the tensors of a step that stood out to the observer."""
        kept, ring, late = standing
        began = time.monotonic()

        def run(data: Any, compiled: bool) -> list[Found]:
            if self._beside is None:
                self._beside = beside = Instrument(
                    self._model, self._observer, activations_only=self._activations_only
                )
                beside._tracer.labelled = self._tracer.labelled
                beside._jit = self._jit
            return self._beside.run_once(
                kept.phase, data, compiled=compiled, measured=not compiled
            )

        if UPDATED in kept.missing:
            found = [replace(f, tensor=tf.constant(value)) for f, value in late]
            found = in_causal_order([*found, *self._variables_now()])
            layout, arrays = as_observed(found, kept.phase, ring.layout, {})
        else:
            layout, arrays = run_again(self._model, kept, ring.layout, run)
        spent = time.monotonic() - began
        expectation = self._observer.observe(
            layout, kept.replica, kept.step, arrays, spent=spent
        )
        bad = ring.expectation.bad
        ring.expect(as_columns(expectation, layout, ring.layout, bad))
        if self.capture is not None and self._observer.is_onset(
            kept.phase, kept.step, kept.replica
        ):
            self.capture.offer(kept)

    def _variables_now(self) -> list[Found]:
        """Returns slots, weights and layer state, as eager tensors."""
        if self._activations_only:
            return []
        tracer = Tracer(self._model, self._note)
        with tracer.tracing() as found:
            tracer.add_variables()
        return found

    # --- Hooks ----------------------------------------------------------------

    def _hook_parts(self, hooks: Hooks) -> None:
        """Hooks what a step is made of, but not the step itself."""
        self._parts = StepParts(
            self._model, hooks, self._tracer, self._note, self._meet, self._kept_apart
        )
        self._parts.hook(self._watch_apply)

    def _meet_built_layers(self) -> None:
        """Names and hooks what a model that its first batch builds has by now."""
        if self._hooks is not None:
            self._parts.meet_built_layers()

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _meet(self, meet: Callable[[], None]) -> None:
        """Adds what a hook has met, while a step is traced or run.

        Args:
            meet: does so; what goes wrong in it ends watching, and only that.
        """
        if self._watching and self._tracer.active:
            with self._kept_apart():
                meet()

    def _watch_apply(self, optimizer: Any, apply: Any) -> Any:
        def watched(grads: Any, *args: Any, **kwargs: Any) -> Any:
            grads = list(grads)  # what is given may be read only once
            variables = kwargs.get("trainable_variables", args[0] if args else None)
            kept: Any = None

            def meet() -> None:
                nonlocal kept
                kept = self._before_update(optimizer, grads, variables)

            self._meet(meet)
            if kept is None:
                return apply(grads, *args, **kwargs)
            if not updates_by_gradients_alone(optimizer):
                with tf.control_dependencies([kept]):
                    return apply(grads, *args, **kwargs)
            with self._kept_apart():
                grads = [after(kept, gradient) for gradient in grads]
            return apply(grads, *args, **kwargs)

        return watched

    def _before_update(
        self, optimizer: Any, grads: list[Any], trainable_variables: Any
    ) -> Any:
        """Adds the gradients; returns what the update has to wait for, if anything."""
        tracer, step = self._tracer, self._current.step
        variables = (
            private.optimized_variables(optimizer)
            if trainable_variables is None
            else list(trainable_variables)
        )
        if not self._activations_only:
            tracer.add_gradients(grads, variables)
        if step is None or not tracer.in_step:
            return None
        if trainable_variables is not None and grads:
            build_optimizer(optimizer, variables)
        return self._graph.gate(step, tracer.found)

    def _watch_step(self, phase: Phase) -> Callable[[Any, Any], Any]:
        def wrap(model: Any, train_step: Any) -> Any:
            def watched(data: Any) -> Any:
                if not self._watching:
                    return self._unwatched(train_step, data)
                rewinding = self._rewinding if phase == "train" else None
                with (
                    self._as_if_traced_once(phase, train_step, data),
                    rewinding.step(data) if rewinding else _nothing(),
                ):
                    logs = self._run_step(phase, train_step, data)
                with self._kept_apart():
                    if self._fit is not None:
                        self._fit.traced()
                    if rewinding is not None:
                        rewinding.traced()
                return logs

            return tf.autograph.experimental.do_not_convert(watched)

        return wrap

    @contextlib.contextmanager
    def _as_if_traced_once(
        self, phase: Phase, train_step: Any, data: Any
    ) -> Iterator[None]:
        """Builds the model before its first step is traced, where that would build it."""
        drawn = None
        with self._kept_apart():
            if (
                phase == "train"
                and not tf.executing_eagerly()
                and self._replicas == 1
                and not self._is_built
            ):
                self._is_built = True
                assert self._fit is not None
                with self._fit.aside(), contextlib.suppress(Exception):
                    # An error of the user's comes once more, from the step itself.
                    build_as_keras_does(train_step, data)
                drawn = random.getstate()
                self._meet_built_layers()
            if phase == "train" and self._rewinding is not None and self._replicas == 1:
                self._rewinding.build_slots()
        yield
        if drawn is not None:
            random.setstate(drawn)

    @property
    def _compiles(self) -> bool:
        """Whether XLA is to compile the step, and this instrument has to see to that."""
        return self._jit and not self._model.run_eagerly

    def _unwatched(self, train_step: Any, data: Any) -> Any:
        """Traces (or runs) a step without probes, and returns its logs."""
        if self._compiles and self._fit is not None and self._fit.active:
            # Keras was told not to.
            train_step = function_of(train_step, xla=True)
            self._jitted.append(train_step)
        return train_step(data)

    def _run_step(self, phase: Phase, train_step: Any, data: Any) -> Any:
        """Traces (or runs) a step with its probes, and returns its logs."""
        step: Step | None = None
        # What is looked at beside is not held for a look: see `packed`.
        beside = (
            self._replicas == 1
            and self._can_run_again
            and not self._model.run_eagerly
            and (self._compiles or phase == "validation")
        )
        gated = phase == "train" and self._keeps_at_gate
        with self._kept_apart():
            step = self._graph.begin(phase, data, beside, gated)
        if step is None:
            return self._unwatched(train_step, data)
        # What is no plain tensor (a ragged or sparse one) is not kept.
        beside = beside and step.batch is not None and step.batch.complete
        if beside and self._compiles:
            packed = self._packed_step(step, train_step, data)
            if packed is not None:
                logs, sums, met = packed
                if self._trouble is None:
                    with self._kept_apart():
                        self._graph.record_packed(step, met[-1], Packed(*sums))
                return logs
        self._current.step = step
        run = self._run_compiled if self._compiles else self._found_in_step
        try:
            logs, found = run(phase, train_step, data)
        finally:
            self._current.step = None
        if self._trouble is None:
            with self._kept_apart():
                graph = tf.compat.v1.get_default_graph()
                if beside and not self._compiles and self._is_repeatable(graph):
                    sums, parts = pack(found, phase)
                    self._graph.record_packed(step, parts, sums)
                    return logs
                if step.beside and self._is_repeatable(graph):
                    step.beside = self._graph.record_gated(step, found)
                    if step.beside:
                        return logs
                step.beside = False
                self._graph.record(step, found)
        return logs

    @property
    def _keeps_at_gate(self) -> bool:
        """Whether a training step can be looked at beside from what its gate keeps."""
        return (
            self._replicas == 1
            and self._can_run_again
            and self.capture is not None
            and not self._compiles
            and not self._model.run_eagerly
            # Of several steps in a call the variables are those of the last.
            and int(self._model.steps_per_execution) == 1
        )

    def _is_repeatable(self, graph: Any) -> bool:
        return is_repeatable(graph, self._changed_by_a_step())

    def _packed_step(
        self, step: Step, train_step: Any, data: Any
    ) -> tuple[Any, Any, list[Parts]] | None:
        """Traces a step that XLA compiles and that hands out its sums alone.

        Returns:
            Its logs, its sums and what they stand for; None where it cannot be run again.
        """
        parts: list[Parts] = []

        def run(data: Any) -> Any:
            logs, found = self._found_in_step(step.phase, train_step, data)
            if self._trouble is None:
                with self._kept_apart():
                    sums, packed = pack(found, step.phase)
                    parts.append(packed)
                    return logs, sums
            return logs, ()

        compiled = function_of(run, xla=True)
        traced = compiled.get_concrete_function(data)
        with self._kept_apart():
            if self._trouble is None and not self._is_repeatable(traced.graph):
                return None
            self._graph.read(step)
        self._jitted.append(compiled)
        logs, sums = traced(data)
        return logs, sums, parts

    def _run_compiled(
        self, phase: Phase, train_step: Any, data: Any
    ) -> tuple[Any, list[Found]]:
        """Runs a step that is compiled as in training, and hands all its tensors out."""
        met: list[Found] = []

        def run(data: Any) -> Any:
            logs, met[:] = self._found_in_step(phase, train_step, data)
            return logs, [f.tensor for f in met]

        function, found = function_of(run, xla=self._jit), met
        if tf.executing_eagerly():  # it is called for other steps, too
            function, met = self._compiled.setdefault(phase, (function, met))
        traced = function.get_concrete_function(data)
        if tf.executing_eagerly():
            found = self._handed_out.setdefault(id(traced), list(met))
        logs, tensors = traced(data)
        place = {id(f.tensor): t for f, t in zip(found, tensors, strict=True)}
        return logs, [replace(f, tensor=place[id(f.tensor)]) for f in found]

    def _found_in_step(
        self, phase: Phase, train_step: Any, data: Any
    ) -> tuple[Any, list[Found]]:
        tracer = self._tracer
        with tracer.tracing() as found:
            self._meet(lambda: tracer.add_data(data))
            logs = train_step(data)
            self._meet(lambda: tracer.add_logs(logs))
            if phase == "train" and not self._activations_only:
                self._meet(tracer.add_variables)
            self._meet(tracer.finish)
            return logs, list(found)
