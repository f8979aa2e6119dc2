# SPDX-License-Identifier: Apache-2.0
"""One step with its parts hooked, where the model's own Python makes it: TensorFlow, PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tb_nanwatch.compat import keras as private
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.base import METHODS, BaseInstrument
from tb_nanwatch.writing.backends.hooks import Hooks, original
from tb_nanwatch.writing.backends.parts import StepParts
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order

# Of a phase, its step and a batch: the step's logs, and what it met.
Run = Callable[[Phase, Any, Any], tuple[Any, list[Found]]]


class StepRunner(BaseInstrument):
    """Hooks what a step is made of, and runs steps.

    Args:
        model, observer, wishes: as of `BaseInstrument`.
    """

    def _run_once(self, phase: Phase, data: Any, run: Run) -> list[Found]:
        """Runs one step and returns its watched tensors; the model is not watched then.

        Args:
            phase: which step.
            data: the batch, as `train_step` receives it.
            run: runs it.
        """
        self._hooks = hooks = Hooks()
        try:
            self._hook_parts(hooks)
            # Not through the hook of another instrument, which would take it for a step.
            _, found = run(phase, original(self._model, METHODS[phase]), data)
        finally:
            self.uninstall()
        if self._trouble is not None:
            raise self._trouble
        return in_causal_order(found)

    def _hook_parts(self, hooks: Hooks) -> None:
        """Hooks what a step is made of, but not the step itself."""
        self._parts = StepParts(
            self._model, hooks, self._tracer, self._note, self._meet, self._kept_apart
        )
        self._parts.hook(self._watch_apply)

    def _watch_apply(self, optimizer: Any, apply: Any) -> Any:
        """Returns what stands before an optimizer's `apply`."""
        raise NotImplementedError

    def _add_gradients(
        self, optimizer: Any, grads: list[Any], trainable_variables: Any
    ) -> Sequence[Any]:
        """Adds the gradients of an update; returns the variables whose gradients are met."""
        if self._wishes.activations_only:
            return ()
        variables = (
            private.optimized_variables(optimizer)
            if trainable_variables is None
            else list(trainable_variables)
        )
        self._meet(self._tracer.add_gradients, grads, variables)
        return variables

    def _found_in_step(
        self, phase: Phase, train_step: Any, data: Any
    ) -> tuple[Any, list[Found]]:
        """Traces (or runs) a step, and returns its logs and what it met."""
        tracer = self._tracer
        with tracer.tracing() as found:
            self._meet(tracer.add_data, data)
            logs = train_step(data)
            self._meet(tracer.add_logs, logs)
            if phase == "train" and not self._wishes.activations_only:
                self._meet(tracer.add_variables)
            self._meet(tracer.finish)
            return logs, list(found)
