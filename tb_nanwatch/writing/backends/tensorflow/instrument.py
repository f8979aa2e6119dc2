# SPDX-License-Identifier: Apache-2.0
"""Hooks a model, reads what its steps wrote, and takes the hooks out again."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import tensorflow as tf

from tb_nanwatch.compat import keras as private
from tb_nanwatch.compat.names import Feature, MissingError, has
from tb_nanwatch.compat.tensorflow import eager_random
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.postmortem.variables import trained_variables, variables_of
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.base import (
    METHODS,
    READ_INTERVAL_SECONDS,
)
from tb_nanwatch.writing.backends.hooks import Hooks
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.names import (
    build_optimizer,
)
from tb_nanwatch.writing.backends.tensorflow.addends import read_where_added
from tb_nanwatch.writing.backends.tensorflow.build import (
    build_as_keras_does,
    calls_keras_alone,
    is_built,
)
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.fits import WatchedFit
from tb_nanwatch.writing.backends.tensorflow.later import LAG, LookBack, is_on_host
from tb_nanwatch.writing.backends.tensorflow.looks import Looks
from tb_nanwatch.writing.backends.tensorflow.one_step import OneStep
from tb_nanwatch.writing.backends.tensorflow.ops import function_of
from tb_nanwatch.writing.backends.tensorflow.packed import Packed, Parts, pack
from tb_nanwatch.writing.backends.tensorflow.repeatable import is_repeatable
from tb_nanwatch.writing.backends.tensorflow.rewinding import Rewinding
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tensorflow.step import StepGraph
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step
from tb_nanwatch.writing.backends.tracing import in_causal_order
from tb_nanwatch.writing.recording.observer import Observer

_nothing: Final = contextlib.nullcontext


def _random_is_known() -> bool:
    """Returns whether the random state of eager operations can be put back."""
    with contextlib.suppress(MissingError):
        eager_random()
        return True
    return False


class _Current(threading.local):
    """The step that a thread is tracing, where its updates can be made to wait."""

    step: Step | None = None


class Instrument(OneStep):
    """Watches one training (`interface.Instrument`).

    Args:
        model: the model that is being fitted.
        observer: receives what is seen.
        wishes: how it is to be watched, and who is told.
    """

    _fit: WatchedFit | None
    _rewinding: Rewinding | None

    def __init__(self, model: Any, observer: Observer, wishes: Wishes) -> None:
        super().__init__(model, observer, wishes)
        self._current = _Current()
        keeps = wishes.capture_bytes > 0 and has(Feature.CAPSULE)
        # Of a step that is run again, the state is read before it and put back after it.
        self._can_run_again = (
            has(Feature.CAPSULE) and has(Feature.POST_MORTEM) and _random_is_known()
        )
        keeper = Capture(model, wishes.capture_bytes)
        self.capture = keeper if keeps else None
        self._graph = StepGraph(
            observer,
            keeper,
            keeps,
            lambda: int(model.steps_per_execution),
            self._note,
        )
        self._jitted: list[Any] = []
        self._is_built = is_built(model)
        self._met_variables = False
        # Whether all that was known after the last call has been seen to.
        self._is_settled = False
        self._replicas = private.replicas_of(model)
        self._rewinding = self._new_rewinding(wishes.rewind_bytes)
        self._looks = Looks(
            *(model, observer, wishes.activations_only),
            *(self.capture, self.beside, self._note),
        )
        self._look_back = LookBack(model, self._graph.rings, self._looks, self._note)
        self._calls: dict[Phase, int] = {"train": 0, "validation": 0}
        # Calls after which the rings are full; the first call makes them.
        self._calls_due: dict[Phase, int] = {"train": 1, "validation": 1}
        self._read_at = time.monotonic()

    def _new_rewinding(self, limit: int) -> Rewinding | None:
        if not limit or not self._can_run_again or self._replicas > 1:
            return None
        return Rewinding(
            self._model,
            limit,
            lambda: self._graph.rings.steps("train"),
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
        fit = self._join(
            caller,
            lambda: WatchedFit(
                model, caller, self._changed_by_a_step, self._before_tracing
            ),
        )
        self._hooks = hooks = Hooks()
        try:
            self._hook_parts(hooks)
            for phase, name in METHODS.items():
                hooks.put(model, name, self._watch_step(phase))
            fit.make_functions(self._make_functions)
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Takes every hook out; the model is as it was. Safe to call again."""
        super().uninstall()
        rewinding, self._rewinding = self._rewinding, None
        if rewinding is not None:
            rewinding.close()
        self._jitted.clear()

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

    def called(self, phase: Phase) -> BaseException | None:
        """Takes in what a call of a function has brought.

        Returns:
            What is to end the training, by the user's own wish.
        """
        self._calls[phase] += 1
        return None if self._is_quiet(phase) else super().called(phase)

    def _is_quiet(self, phase: Phase) -> bool:
        """Returns whether a call brought nothing: nearly all do, so this is quick."""
        return (
            self._is_settled
            and not self._graph.news.has_come
            and self._calls[phase] < self._calls_due[phase]
            and time.monotonic() - self._read_at <= READ_INTERVAL_SECONDS
            and (phase != "train" or self._rewinding is None or self._rewinding.passes())
        )

    def _take_in(self, phase: Phase) -> BaseException | None:
        self._is_settled = self._graph.news.has_come = False
        if not self._is_built:
            self._is_built = True
            self._meet_built_layers()
        for standing in self._graph.news.take_standing():
            with self._rewinding.aside() if self._rewinding else _nothing():
                self._looks.look(standing)
        if (
            self._calls[phase] >= self._calls_due[phase]
            or time.monotonic() - self._read_at > READ_INTERVAL_SECONDS
        ):
            self.read()
            self._wishes.after_read()
        ending = self._wishes.after_call()
        # A run that is known to be bad keeps what led there.
        if phase == "train" and self._rewinding is not None:
            if not self._met_variables and self._hooks is not None:
                self._met_variables = True
                self._rewinding.watch_changes(self._hooks)
            self._rewinding.called()
        self._is_settled = self._trouble is None
        return ending

    def _remember(self, error: Exception) -> None:
        super()._remember(error)
        self._is_settled = False

    # --- Reading --------------------------------------------------------------

    def read(self) -> None:
        """Hands all rows since the last reading to the observer."""
        self._read_at = time.monotonic()
        self._is_settled = False
        steps_per_call = max(1, int(self._model.steps_per_execution))
        for phase, rings in self._graph.rings.of_phase.items():
            self._calls[phase] = 0
            smallest = min((self._rows_of(ring) for ring in rings), default=1)
            self._calls_due[phase] = max(1, smallest // steps_per_call)
            taken = [
                (first, ring.replica, ring, rows)
                for ring in rings
                for first, rows in ring.take(len(rings) == self._replicas)
            ]
            for first, replica, ring, rows in sorted(taken, key=lambda t: t[:2]):
                if ring.guarded:
                    rows = self._look_back.check(
                        ring, first, rows, self._rewinding, self._fit
                    )
                self._observer.rows(ring.layout, replica, first, rows)

    def _rows_of(self, ring: Ring) -> int:
        """Returns how many steps may write a ring before it is read."""
        if not ring.guarded or self._rewinding is None:
            return ring.size
        return min(ring.size, LAG, max(1, self._rewinding.reach))

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""
        return self._graph.rings.steps(phase)

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
        self._graph.mute()
        return self._rewinding.take(
            onset, self._fit.train_function, self._fit.spec, self._graph.rings.own
        )

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""
        for ring in self._graph.rings.of_phase[phase]:
            ring.ask()

    # --- Hooks ----------------------------------------------------------------

    def _before_update(
        self, optimizer: Any, grads: list[Any], trainable_variables: Any
    ) -> Any:
        """Adds the gradients; returns what the update has to wait for, if anything."""
        super()._before_update(optimizer, grads, trainable_variables)
        step = self._current.step
        if step is None or not self._tracer.in_step:
            return None
        if trainable_variables is not None and grads:
            build_optimizer(optimizer, list(trainable_variables))
        return self._graph.gate(step, self._tracer.found)

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

    def _before_tracing(self) -> None:
        """Makes the slots, where nobody can tell: the step is traced once then, not twice.

        TensorFlow traces a function again that has made variables.
        """
        with self._kept_apart():
            rewinding = self._rewinding
            if rewinding and self._is_built and calls_keras_alone(self._model):
                rewinding.build_slots()

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

    def _begin(self, phase: Phase, data: Any) -> tuple[Step, bool]:
        """Returns a step that is about to run, and whether its sums alone are handed out."""
        later = phase == "train" and self._reads_later(data)
        # What is looked at beside is not held for a look: see `packed`.
        beside = later or (
            self._replicas == 1
            and self._can_run_again
            and not self._model.run_eagerly
            and (self._compiles or phase == "validation")
        )
        gated = phase == "train" and self._keeps_at_gate and not later
        step = self._graph.begin(phase, data, beside and not later, gated)
        # What is no plain tensor (a ragged or sparse one) is not kept.
        beside = beside and step.batch is not None and step.batch.complete
        step.later = later and beside
        if step.later and self._rewinding is not None:
            self._rewinding.look_back(LAG)
        return step, beside

    def _run_step(self, phase: Phase, train_step: Any, data: Any) -> Any:
        """Traces (or runs) a step with its probes, and returns its logs."""
        begun: tuple[Step, bool] | None = None
        with self._kept_apart():
            begun = self._begin(phase, data)
        if begun is None:
            return self._unwatched(train_step, data)
        step, beside = begun
        aside = self._graph.beside
        record = aside.record_later if step.later else aside.record_packed
        if beside and self._compiles:
            packed = self._packed_step(step, train_step, data)
            if packed is not None:
                logs, sums, met = packed
                if self._trouble is None:
                    with self._kept_apart():
                        record(step, met[-1], Packed(*sums))
                return logs
        self._current.step = None if step.later else step
        run = self._run_compiled if self._compiles else self._found_in_step
        try:
            logs, found = run(phase, train_step, data)
        finally:
            self._current.step = None
        if self._trouble is None:
            with self._kept_apart():
                graph = tf.compat.v1.get_default_graph()
                if beside and not self._compiles and self._is_repeatable(graph):
                    if step.later:
                        found = in_causal_order(read_where_added(found, step.read_as))
                    sums, parts = pack(found, phase)
                    record(step, parts, sums)
                    return logs
                if step.beside and self._is_repeatable(graph):
                    step.beside = aside.record_gated(step, found)
                    if step.beside:
                        return logs
                step.beside = False
                self._graph.within.record(step, found)
        return logs

    def _reads_later(self, data: Any) -> bool:
        """Returns whether nothing of a training step is read until many have run."""
        return (
            self._rewinding is not None
            and self.capture is not None
            and not self._wishes.acts
            and not self._model.run_eagerly
            and int(self._model.steps_per_execution) == 1
            and not is_on_host(self._model)
            and self._rewinding.has_room(data)
        )

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
