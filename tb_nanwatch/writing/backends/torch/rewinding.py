# SPDX-License-Identifier: Apache-2.0
"""What a training that PyTorch runs is run again from: its states and its batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch

from tb_nanwatch.postmortem.tape import Change, Steps, Tape
from tb_nanwatch.postmortem.variables import state_variables
from tb_nanwatch.writing.backends.batches import Batches
from tb_nanwatch.writing.backends.hooks import Hooks, original
from tb_nanwatch.writing.backends.names import build_optimizer, has_keras_step
from tb_nanwatch.writing.backends.torch.states import Held
from tb_nanwatch.writing.backends.torch.sums import array_of
from tb_nanwatch.writing.rewind import Rewind

# Elements of a variable that counts, or is a seed.
_FEW: Final = 64


class _Source(Batches):
    """The training's states and batches (`rewind.Source`)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def state(self) -> Held:
        return Held(_variables_of_a_state(self._model))

    def state_bytes(self) -> int:
        return sum(int(v.value.nbytes) for v in _variables_of_a_state(self._model))


def _variables_of_a_state(model: Any) -> list[Any]:
    """Returns the Keras variables that the next step depends on."""
    return [variable for _, variable in state_variables(model)]


class Rewinding:
    """Keeps what one training can be run again from.

    Args:
        model: that is trained.
        limit: bytes that may be held.
        hooks: where what is set between two steps is noticed.
    """

    def __init__(self, model: Any, limit: int, hooks: Hooks) -> None:
        self._model, self._hooks = model, hooks
        self._source = _Source(model)
        self._rewind = Rewind(self._source, limit)
        self._in_step = False
        self._steps = 0
        if not has_keras_step(model):
            # Its own Python would run again, and may do more than train.
            self._rewind.stop("the model has a train_step of its own that runs eagerly")

    def begins(self, step: int, data: Any) -> None:
        """Holds the batch of a training step that runs next."""
        if self._rewind.why_not:
            return
        self._in_step = True
        if not self._rewind.has_begun:
            self._begin(step)
        self._source.put(data)

    def _begin(self, step: int) -> None:
        model = self._model
        if not model.built or model.optimizer is None:
            return
        # Variables that the first step would create must exist before it.
        build_optimizer(model.optimizer, model.trainable_variables)
        for variable in _variables_of_a_state(model):
            if not self._hooks.stand_before(variable, "assign"):
                self._hooks.put(variable, "assign", self._watch_assign)
        self._rewind.begin(step, 1)

    def ended(self, steps: int) -> None:
        """Says that a training step is over, and how many there were."""
        self._in_step, self._steps = False, steps
        if self._rewind.has_begun and steps >= self._rewind.next_look:
            self._rewind.stepped(steps)

    def _watch_assign(self, variable: Any, assign: Any) -> Any:
        def watched(value: Any) -> Any:
            result = assign(value)
            if not self._in_step:
                self._changed(variable)
            return result

        return watched

    def validated(self) -> None:
        """Says that a validation pass is over, which may have drawn random numbers."""
        for variable in _variables_of_a_state(self._model):
            value = variable.value
            if not value.is_floating_point() and value.numel() <= _FEW:
                self._changed(variable)

    def _changed(self, variable: Any) -> None:
        if not self._rewind.why_not:
            value = np.array(array_of(variable.value))
            self._rewind.changed(Change(self._steps, variable, value))

    def stretch(self, onset: int) -> Tape | None:
        """Returns what leads to a training step that has run; None where it is gone."""
        tape = self._rewind.stretch(self._steps, onset)
        if tape is not None:
            tape.train = self._train
        return tape

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Lets pass what is set and put back within."""
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False

    @property
    def has_begun(self) -> bool:
        """Whether the next steps can be run again."""
        return self._rewind.has_begun and not self._rewind.why_not

    def went_bad(self) -> None:
        """Says that the run went bad in the step that is just over."""
        self._rewind.went_bad(self._steps)

    def take(self, onset: int) -> Tape | str:
        """Returns what the training can be run again from; holds no more afterwards.

        Args:
            onset: the training step at which it went bad.

        Returns:
            In words why not, where that is so.
        """
        tape = self._rewind.take(self._steps, onset)
        if not isinstance(tape, str):
            tape.train = self._train
        return tape

    def _train(self, batches: Sequence[Any]) -> Steps:
        model = self._model
        step = original(model, "train_step")
        for n in range(len(batches)):
            model.reset_metrics()
            with torch.enable_grad():
                logs = step(batches[n])
            yield 1, dict(logs) if isinstance(logs, dict) else {}
