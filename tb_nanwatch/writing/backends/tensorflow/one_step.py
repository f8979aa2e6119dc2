# SPDX-License-Identifier: Apache-2.0
"""Runs one step of a model with probes in its parts, and returns its watched tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.names import updates_by_gradients_alone
from tb_nanwatch.writing.backends.one_step import StepRunner
from tb_nanwatch.writing.backends.tensorflow.ops import after, function_of
from tb_nanwatch.writing.backends.tensorflow.tracing import Tracer
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import Observer


class OneStep(StepRunner):
    """Runs one step as it is traced, eagerly, or compiled as in training.

    Args:
        model: whose step.
        observer, wishes: as of `StepRunner`.
    """

    _tracer: Tracer

    def __init__(self, model: Any, observer: Observer, wishes: Wishes) -> None:
        super().__init__(model, observer, wishes)
        self._tracer = Tracer(model, self._note)
        self._rewinding = None
        # Whether the training's step is compiled by XLA.
        self._jit = False
        # Functions that hand all tensors out, and by trace what it has met.
        self._compiled: dict[Phase, tuple[Any, list[Found]]] = {}
        self._met: dict[int, list[Found]] = {}

    def beside(self) -> OneStep:
        """Returns what runs steps beside this one's training."""
        other = OneStep(
            self._model,
            self._observer,
            Wishes(activations_only=self._wishes.activations_only),
        )
        other._tracer.labelled = self._tracer.labelled
        other._jit = self._jit
        return other

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
        self._tracer.measures = measured
        run = self._run_compiled if compiled else self._found_in_step
        return self._run_once(phase, data, run)

    def _meet_built_layers(self) -> None:
        """Names and hooks what a model that its first batch builds has by now."""
        if self._hooks is not None:
            self._parts.meet_built_layers()

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
        """Adds the gradients; returns what the update has to wait for, None for nothing."""
        self._add_gradients(optimizer, grads, trainable_variables)
        return None

    def _run_compiled(
        self, phase: Phase, train_step: Any, data: Any
    ) -> tuple[Any, list[Found]]:
        """Runs a step that is compiled as in training, and hands all its tensors out.

        In a trace it is a part of what is traced. Eagerly it is compiled once for each
        shape of a batch, and called again for other steps.
        """
        if not tf.executing_eagerly():
            function, met = self._handing_out(phase, train_step)
            traced = function.get_concrete_function(data)
            return _handed_out(traced, met, data)
        if phase not in self._compiled:
            self._compiled[phase] = self._handing_out(phase, train_step)
        function, met = self._compiled[phase]
        traced = function.get_concrete_function(data)
        # A trace leaves in `met` what it has met.
        return _handed_out(traced, self._met.setdefault(id(traced), list(met)), data)

    def _handing_out(self, phase: Phase, train_step: Any) -> tuple[Any, list[Found]]:
        met: list[Found] = []

        def run(data: Any) -> Any:
            logs, met[:] = self._found_in_step(phase, train_step, data)
            return logs, [f.tensor for f in met]

        return function_of(run, xla=self._jit), met


def _handed_out(traced: Any, met: list[Found], data: Any) -> tuple[Any, list[Found]]:
    """Returns a step's logs, and what it met with the tensors that it handed out."""
    logs, tensors = traced(data)
    place = {id(f.tensor): t for f, t in zip(met, tensors, strict=True)}
    return logs, [replace(f, tensor=place[id(f.tensor)]) for f in met]
