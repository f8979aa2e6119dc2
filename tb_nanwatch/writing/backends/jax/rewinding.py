# SPDX-License-Identifier: Apache-2.0
"""What a training that JAX runs is run again from: its states, its batches, its step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import jax
import numpy as np

from tb_nanwatch.postmortem.tape import Change, Tape, Train
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.batches import Batches
from tb_nanwatch.writing.backends.jax.fits import Step
from tb_nanwatch.writing.backends.jax.states import (
    Held,
    copy_of,
    is_whole,
    parts_of,
    state_of,
)
from tb_nanwatch.writing.backends.jax.sums import plain_logs
from tb_nanwatch.writing.backends.names import has_keras_step
from tb_nanwatch.writing.rewind import Rewind

# Elements of a variable that counts, or is a seed.
_FEW: Final = 64


class _Source(Batches):
    """The training's states and batches (`rewind.Source`).

    Args:
        donated: whether a step gives its state away.
    """

    def __init__(self, donated: bool) -> None:
        super().__init__()
        self._donated = donated
        self.variables: list[Any] = []
        # The state from before the step that runs next, without metrics.
        self.before: Any = ()

    @property
    def values(self) -> list[Any]:
        """The values from before the step that runs next: few steps ask for them."""
        return list(jax.tree.leaves(self.before))

    def state(self) -> Held:
        return Held(self.variables, self.values, self._donated)

    def state_bytes(self) -> int:
        return sum(int(value.nbytes) for value in self.values)


class Rewinding:
    """Keeps what one training can be run again from.

    Metrics are left out: their sums so far play no part in a step.

    Args:
        model: that is trained.
        limit: bytes that may be held.
        compiled: whether its step is compiled; that gives its state away.
    """

    def __init__(self, model: Any, limit: int, compiled: bool) -> None:
        self._model, self._compiled = model, compiled
        self._source = _Source(compiled)
        self._rewind = Rewind(self._source, limit)
        self._steps = self._of_model = 0
        self._tested = False
        if not compiled and not has_keras_step(model):
            # Its own Python would run again, and may do more than train.
            self._rewind.stop("the model has a train_step of its own that runs eagerly")

    def begins(self, step: int, state: Any, data: Any, places: Sequence[int]) -> None:
        """Holds what a training step begins with; called before it runs.

        Args:
            step: its number.
            state, data: its arguments.
            places: of what was set in the state since the step before.
        """
        self._steps = step + 1
        if self._rewind.why_not:
            return
        source, rewind = self._source, self._rewind
        if not source.variables:
            self._learn_variables(state)
            if rewind.why_not:
                return
        source.before = state[:-1]
        tested, self._tested = self._tested, False
        if places and rewind.has_begun:
            self._note_changes(step, places, tested)
        if not rewind.has_begun:  # or no more, where most was set
            rewind.begin(step, 1)
        elif step >= rewind.next_look:
            rewind.stepped(step)
        source.put(data)
        source.before = ()

    def _note_changes(self, step: int, places: Sequence[int], tested: bool) -> None:
        values = self._source.values
        for place in places:
            if place >= len(values) or (tested and self._is_same(place, values[place])):
                continue
            # A step that runs gives the buffer itself away.
            value = np.array(values[place])
            self._rewind.changed(Change(step, self._source.variables[place], value))

    def _is_same(self, place: int, value: Any) -> bool:
        """Returns whether a value is the same after a validation pass, in another buffer.

        Such a pass hands weights and layer state through; it may draw random numbers.
        """
        draws = value.dtype.kind in "iu" and value.size <= _FEW
        return place < self._of_model and not draws

    def validated(self) -> None:
        """Says that a validation pass has run between two steps."""
        self._tested = True

    def _learn_variables(self, state: Any) -> None:
        if not is_whole(self._model, "train", state):
            self._rewind.stop(
                "its step takes a state of another structure than Keras' own"
            )
            return
        parts = parts_of(self._model, "train")
        self._source.variables = [v for part in parts[:-1] for v in part]
        self._of_model = len(parts[0]) + len(parts[1])

    def went_bad(self) -> None:
        """Says that the run went bad in the call that is just over."""
        self._rewind.went_bad(self._steps)

    def take(self, onset: int, step: Step) -> Tape | str:
        """Returns what the training can be run again from; holds no more afterwards.

        Args:
            onset: the training step at which it went bad.
            step: that trained.

        Returns:
            In words why not, where that is so.
        """
        tape = self._rewind.take(self._steps, onset)
        if isinstance(tape, str):
            return tape
        if self._compiled:
            parts = parts_of(self._model, "train")
            state = tuple([_like(variable) for variable in part] for part in parts)
            # What it was traced for is remembered, and not traced once more.
            if jax.make_jaxpr(step)(state, tape.batches[0]).effects:
                return "running a step leaves traces (it prints, writes, calls Python)"
        tape.train = _by(self._model, "train", step, self._compiled)
        return tape


def _like(variable: Any) -> Any:
    return jax.ShapeDtypeStruct(tuple(variable.shape), variable.dtype)


def by_steps(model: Any, trains: bool) -> Train:
    """Returns what trains, or tests, by the model's code as it is from then on.

    Args:
        model: compiled as its training was; a step is traced when the first one runs.
        trains: whether by `train_step`; else by `test_step`.
    """
    phase: Phase = "train" if trains else "validation"

    def step(state: Any, data: Any) -> Any:
        return (model.train_step if trains else model.test_step)(state, data)

    compiled = bool(model.jit_compile) and not model.run_eagerly
    return _by(model, phase, jax.jit(step) if compiled else step, False)


def _by(model: Any, phase: Phase, step: Step, donated: bool) -> Train:
    """Returns what trains by a step, and has each state in the model's variables."""

    def train(batches: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        copy = copy_of if donated else lambda leaf: leaf
        variables = [v for part in parts_of(model, phase) for v in part]
        metrics = model.metrics_variables
        model.reset_metrics()  # a training that an exception left has taken them out
        state = jax.tree.map(copy, state_of(model, phase))
        for n in range(len(batches)):
            model.reset_metrics()
            none_so_far = [copy(v.value) for v in metrics]
            logs, state = step((*state[:-1], none_so_far), batches[n])
            for variable, value in zip(variables, jax.tree.leaves(state), strict=True):
                variable.assign(value)
            logs = plain_logs(logs)
            yield 1, dict(logs) if isinstance(logs, dict) else {}

    return train
