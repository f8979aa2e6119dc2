# SPDX-License-Identifier: Apache-2.0
"""Hooks a model, follows its steps, and takes the hooks out again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import jax
import keras

from tb_nanwatch.compat import keras as private
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import Kind, Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.base import (
    METHODS,
    READ_INTERVAL_SECONDS,
    BaseInstrument,
)
from tb_nanwatch.writing.backends.hooks import Hooks
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.jax.capture import Capture
from tb_nanwatch.writing.backends.jax.fits import Step, WatchedFit
from tb_nanwatch.writing.backends.jax.rewinding import Rewinding
from tb_nanwatch.writing.backends.jax.states import is_whole, variables_in
from tb_nanwatch.writing.backends.jax.steps import Look, Steps
from tb_nanwatch.writing.backends.jax.sums import Layouts, Told, told, told_to
from tb_nanwatch.writing.backends.jax.tracing import Tracer
from tb_nanwatch.writing.backends.names import walk
from tb_nanwatch.writing.backends.parts import StepParts
from tb_nanwatch.writing.recording.observer import Layout, Observer

# Steps whose rows are handed over at once.
ROWS: Final = 256
# Steps that JAX may be ahead of the host, which waits for none that is healthy.
_LAG: Final = 64
# How a step that is looked at is compiled first: quickly, for it runs once. Where that
# shows other tensors than the training had, it is compiled as the training was.
_QUICKLY: Final = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
# The method by which Keras has a layer's values computed once more.
_REMATERIALIZED: Final = "rematerialized_call"


class Instrument(BaseInstrument):
    """Watches one training (`interface.Instrument`).

    Args:
        model: the model that is being fitted.
        observer: receives what is seen.
        wishes: how it is to be watched.
    """

    _tracer: Tracer
    _rewinding: Rewinding | None

    def __init__(self, model: Any, observer: Observer, wishes: Wishes) -> None:
        super().__init__(model, observer, wishes)
        self._tracer = Tracer(model, self._note)
        self._layouts = Layouts()
        self._looks = False
        self._steps: dict[Phase, Steps] = {}
        self._raw: dict[Phase, Step] = {}
        self._rewinding = None
        self._calls = 0
        self._read_at = time.monotonic()
        self.capture = (
            Capture(model, wishes.capture_bytes) if wishes.capture_bytes else None
        )

    # --- Installing -----------------------------------------------------------

    def install(self, caller: fits.Caller) -> None:
        """Puts the probes into the model, and has its functions made anew."""
        model = self._model
        fit = self._join(caller, lambda: WatchedFit(model, caller))
        self._hooks = hooks = Hooks()
        try:
            for phase in METHODS:
                self._steps[phase] = self._new_steps(phase)
            if self._wishes.rewind_bytes:
                limit = self._wishes.rewind_bytes
                self._rewinding = Rewinding(model, limit, self._compiled)
            self._hook(hooks)
            fit.make_functions(fit.make_probed)
        except BaseException:
            self.uninstall()
            raise

    def _hook(self, hooks: Hooks) -> None:
        model = self._model
        parts = StepParts(
            *(model, hooks, self._tracer, self._note, self._meet, self._kept_apart)
        )
        parts.hook(self._watch_apply, "stateless_apply")
        self._hook_rematerialized(hooks)
        for phase, name in METHODS.items():
            hooks.put(model, name, self._watch_step(phase))

    def traced(self, phase: Phase, state: Any, data: Any) -> tuple[Any, Layout]:
        """Returns one step as JAX traces it, and what its outputs stand for.

        The model is watched by no instrument then. The function's outputs are the tensors
        at the layout's sources.

        Args:
            phase: which step.
            state, data: what it takes.
        """
        self._hooks = hooks = Hooks()
        layouts: list[int] = []

        def step(state: Any, data: Any) -> Any:
            found = self.all_tensors(phase, state, data)
            layouts.append(found.layout)
            return found.values

        try:
            self._hook(hooks)
            made = jax.make_jaxpr(step)(state, data)
        finally:
            self.uninstall()
        if self._trouble is not None:
            raise self._trouble
        return made, self._layouts[layouts[-1]]

    def _new_steps(self, phase: Phase) -> Steps:
        compiled = self._compiled
        on_host = jax.default_backend() == "cpu"
        looks = [self._look_by(phase, jit=compiled, options=None)]
        if compiled and on_host:
            looks.insert(0, self._look_by(phase, jit=True, options=_QUICKLY))
        return Steps(
            phase,
            self._observer,
            self._layouts,
            self._wishes.rewind_bytes,
            compiled,
            self.capture,
            lambda state, data: self._raw[phase](state, data),
            looks,
            self._note,
            1 if on_host and self._wishes.acts else _LAG,
        )

    @property
    def _compiled(self) -> bool:
        """Whether JAX compiles the model's steps."""
        return bool(self._model.jit_compile) and not self._model.run_eagerly

    def _look_by(
        self, phase: Phase, *, jit: bool, options: dict[str, Any] | None
    ) -> Look:
        """Returns a step that hands out all tensors; it is compiled when it is needed."""

        def step(state: Any, data: Any) -> Told:
            return self.all_tensors(phase, state, data)

        return jax.jit(step, compiler_options=options) if jit else step

    def all_tensors(self, phase: Phase, state: Any, data: Any) -> Told:
        """Traces (or runs) a step, and returns all its tensors for its sums."""
        before, self._looks = self._looks, True
        try:
            logs, _ = getattr(self._model, METHODS[phase])(state, data)
        finally:
            self._looks = before
        found = told_to(self._layouts, logs)
        if found is None:
            raise RuntimeError("the step was not watched")
        return Told(None, found.values, found.layout, found.owner)

    def uninstall(self) -> None:
        """Takes every probe out; the model is as it was. Safe to call again."""
        super().uninstall()
        for steps in self._steps.values():
            steps.clear()
        self._raw.clear()

    # --- What the fit says (`fits.Watching`, `jax.fits.Follows`) ------------------

    def begins(self, phase: Phase, step: Step, state: Any, data: Any) -> None:
        """Says that a step is about to run."""
        self._raw[phase] = step
        if self._trouble is None:
            with self._kept_apart():
                steps = self._steps[phase]
                number = steps.count
                places = steps.begin(state, data)
                if phase == "train" and self._rewinding is not None:
                    self._rewinding.begins(number, state, data, places)

    def ended(self, phase: Phase, logs: Any, state: Any) -> None:
        """Says what a step returned."""
        if phase == "validation" and self._rewinding is not None:
            self._rewinding.validated()
        if self._trouble is None:
            with self._kept_apart():
                found = told_to(self._layouts, logs)
                if found is None:
                    self._note("a step that was traced without probes was not watched")
                else:
                    self._steps[phase].ended(found, state)

    def _take_in(self, phase: Phase) -> BaseException | None:
        self._calls += 1
        due = self._calls * max(1, int(self._model.steps_per_execution)) >= ROWS
        if due or time.monotonic() - self._read_at > READ_INTERVAL_SECONDS:
            self.read()
            self._wishes.after_read()
        return self._wishes.after_call()

    def passed(self, phase: Phase) -> None:
        """Notes that a callback trains or evaluates the model, which is not watched."""
        if phase == "validation" and self._rewinding is not None:
            self._rewinding.validated()
        super().passed(phase)

    # --- Reading --------------------------------------------------------------

    def read(self) -> None:
        """Hands all rows since the last reading to the observer."""
        self._read_at, self._calls = time.monotonic(), 0
        for steps in self._steps.values():
            steps.read()

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""
        return self._steps[phase].count if phase in self._steps else 0

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""
        self._steps[phase].ask()

    def validated(self) -> None:
        """Says that a validation pass is over."""

    def take_tape(self, onset: int) -> Tape | str:
        """Returns what the training can be run again from; see `interface.Instrument`."""
        if self._rewinding is None:
            return f"rewind_bytes={self._wishes.rewind_bytes} keeps nothing"
        return self._rewinding.take(onset, self._raw["train"])

    # --- Hooks ----------------------------------------------------------------

    def _hook_rematerialized(self, hooks: Hooks) -> None:
        """Watches the outputs of layers whose values are computed once more backwards."""
        for path, layer in walk(self._model, calls=True):
            remat = isinstance(layer, keras.Layer) and hasattr(layer, _REMATERIALIZED)
            if remat and not hooks.stand_before(layer, _REMATERIALIZED):
                kind: Kind = "activation" if path else "prediction"
                hooks.put(layer, _REMATERIALIZED, self._watch_rematerialized(kind, path))

    def _watch_rematerialized(self, kind: Kind, path: str) -> Callable[[Any, Any], Any]:
        def wrap(layer: Any, rematerialized: Any) -> Any:
            def watched(call: Any, *args: Any, **kwargs: Any) -> Any:
                # JAX remembers what it traced of a function that lives on, and with it
                # values of a step that is over: it gets a new one for each call, as a
                # method is that no hook stands before.
                made = rematerialized(lambda *a, **k: call(*a, **k), *args, **kwargs)

                def called(*args: Any, **kwargs: Any) -> Any:
                    outputs = made(*args, **kwargs)
                    name = path or "prediction"
                    self._meet(lambda: self._tracer.add_if_new(kind, name, path, outputs))
                    return outputs

                return called

            return watched

        return wrap

    def _watch_apply(self, optimizer: Any, apply: Any) -> Any:
        def watched(
            optimizer_variables: Any, grads: Any, *args: Any, **kwargs: Any
        ) -> Any:
            variables = private.optimized_variables(optimizer)
            if not self._wishes.activations_only:
                self._meet(lambda: self._tracer.add_gradients(list(grads), variables))
            return apply(optimizer_variables, grads, *args, **kwargs)

        return watched

    def _watch_step(self, phase: Phase) -> Callable[[Any, Any], Any]:
        def wrap(model: Any, step: Any) -> Any:
            def watched(state: Any, data: Any) -> Any:
                if not self._watching:
                    return step(state, data)
                return self._traced(phase, step, state, data)

            return watched

        return wrap

    def _traced(self, phase: Phase, step: Any, state: Any, data: Any) -> Any:
        """Traces (or runs) a step with its probes; its logs are what it tells."""
        tracer = self._tracer
        with self._kept_apart():
            tracer.begin(state, data)
        with tracer.tracing() as found:
            self._meet(lambda: tracer.add_data(data))
            logs, after = step(state, data)
            self._meet(lambda: tracer.add_logs(logs))
            if phase == "train" and not self._wishes.activations_only:
                self._meet(lambda: self._add_variables(phase, after))
            self._meet(tracer.finish)
            found = list(found)
        if self._trouble is None:
            with self._kept_apart():
                logs = told(logs, found, phase, tracer, self._layouts, looks=self._looks)
        return logs, after

    def _add_variables(self, phase: Phase, state: Any) -> None:
        if not is_whole(self._model, phase, state):
            self._note(
                f"{METHODS[phase]} returns a state of another structure than Keras' own: "
                "what of it cannot be told apart is not watched"
            )
        pairs = list(variables_in(self._model, phase, state))
        self._tracer.know([v for v, _ in pairs], [value for _, value in pairs])
        self._tracer.add_variables()
