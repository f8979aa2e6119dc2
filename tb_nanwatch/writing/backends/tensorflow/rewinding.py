# SPDX-License-Identifier: Apache-2.0
"""What a compiled training is run again from: its states, its batches, its function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from tb_nanwatch.postmortem.tape import Change, Tape
from tb_nanwatch.postmortem.variables import state_variables, variables_of
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.writing.backends.hooks import Hooks
from tb_nanwatch.writing.backends.names import (
    build_optimizer,
    has_keras_step,
    is_of_keras,
)
from tb_nanwatch.writing.backends.tensorflow.ops import function_of
from tb_nanwatch.writing.backends.tensorflow.repeatable import is_repeatable
from tb_nanwatch.writing.backends.tensorflow.staged import Staged
from tb_nanwatch.writing.backends.tensorflow.states import Held, has_value, nbytes_of
from tb_nanwatch.writing.rewind import Rewind

# Elements of a variable that counts, or is a seed.
_FEW: Final = 64


class _Source:
    """The training's states and batches (`rewind.Source`)."""

    def __init__(self, model: Any, staged: Staged) -> None:
        self._model = model
        self.hold, self.batches = staged.hold, staged.batches
        self.batch_bytes = staged.batch_bytes

    def state(self) -> Held:
        return Held(variables_of_a_state(self._model))

    def state_bytes(self) -> int:
        return sum(map(nbytes_of, variables_of_a_state(self._model)))


def variables_of_a_state(model: Any) -> list[Any]:
    """Returns the Keras variables that the next step depends on."""
    return [variable for _, variable in state_variables(model)]


class Rewinding:
    """Keeps what one training can be run again from.

    Args:
        model: that is trained.
        limit: bytes that may be held.
        steps: returns the number of training steps so far.
        per_call: returns the number of steps that a call makes.
    """

    def __init__(
        self,
        model: Any,
        limit: int,
        steps: Callable[[], int],
        per_call: Callable[[], int],
    ) -> None:
        self._model, self._steps, self._per_call = model, steps, per_call
        self._staged = Staged()
        self._rewind = Rewind(_Source(model, self._staged), limit)
        self._graphs: list[Any] = []
        self._made = 0
        # From how many steps on something is due, as far as that is known; 0: it is not.
        self._due = 0
        self._steps_of_call = 1
        self._in_step = False

    @property
    def why_not(self) -> str:
        """Why nothing can be run again, in words; empty where it can."""
        return self._rewind.why_not

    # --- In the step --------------------------------------------------------------

    @contextlib.contextmanager
    def step(self, data: Any) -> Iterator[None]:
        """Holds the batch of a training step, which is traced or run within.

        Args:
            data: as `train_step` receives it.
        """
        self._in_step = True
        try:
            if not self.why_not:
                self._put(data)
        except Exception as e:  # nothing of this is worth a training
            self._rewind.stop(f"its batches cannot be held ({of_error(e)})")
        try:
            yield
        finally:
            self._in_step = False

    def build_slots(self) -> None:
        """Makes the optimizer's slots before the first step, which would make them.

        Made in a step that is traced, they have no value until it runs. What an optimizer
        assigns to them while it is built (ScheduleFreeAdamW) is lost where Keras' function
        builds it: TensorFlow traces that twice, and runs the second trace. So it is here.
        """
        model, optimizer = self._model, self._model.optimizer
        if optimizer is None or optimizer.built:
            return
        if not model.built or not has_keras_step(model):
            return

        def build() -> None:
            build_optimizer(optimizer, model.trainable_variables)

        if model.run_eagerly:
            build()
            return
        with tf.init_scope():
            if is_of_keras(optimizer):
                _without_assigning(optimizer, build)
            else:  # takes ten times as long
                function_of(build, xla=False).get_concrete_function()

    def _put(self, data: Any) -> None:
        if tf.executing_eagerly():
            if not has_keras_step(self._model):
                # Its own Python would run again, and may do more than train.
                self._rewind.stop(
                    "the model has a train_step of its own that runs eagerly"
                )
                return
            # What the first step would make has to be there before it.
            optimizer = self._model.optimizer
            if self._model.built and (optimizer is None or optimizer.built):
                self._begin()
        else:
            self._graphs.append(tf.compat.v1.get_default_graph())
        tensors: list[Any] = []

        def place(leaf: Any) -> int | None:
            if leaf is None:
                return None
            if not isinstance(leaf, tf.Tensor):
                raise TypeError(type(leaf).__name__)
            tensors.append(leaf)
            return len(tensors) - 1

        try:
            structure = keras.tree.map_structure(place, data)
        except TypeError as e:
            self._rewind.stop(f"its batches hold a {e}")
            return
        self._staged.put(structure, tensors)
        if self._staged.why_not:
            self._rewind.stop(self._staged.why_not)

    def traced(self) -> None:
        """Says that a step has been traced; it runs next."""
        self._begin()

    def _begin(self) -> None:
        if self._rewind.has_begun or self.why_not:
            return
        with tf.init_scope():
            if all(map(has_value, variables_of_a_state(self._model))):
                self._rewind.begin(self._steps(), max(1, self._per_call()))

    # --- Between steps ------------------------------------------------------------

    def called(self) -> None:
        """Says that a call has made its steps."""
        self._begin()
        self._steps_of_call = max(1, self._per_call())
        self._made += self._steps_of_call
        self._due = 0
        if not self._rewind.has_begun and not self.why_not:
            return
        if self._made >= self._rewind.next_look:
            self._made = self._steps()
            if self._made >= self._rewind.next_look:
                self._rewind.stepped(self._made)
        self._due = self._rewind.next_look

    def passes(self) -> bool:
        """Counts a call; returns whether nothing is due. Else `called` counts it."""
        made = self._made + self._steps_of_call
        if made >= self._due:
            return False
        self._made = made
        return True

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Lets pass what is set and put back within."""
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False

    @contextlib.contextmanager
    def running_again(self) -> Iterator[None]:
        """Lets pass the steps, too, that are run again within."""
        with self.aside(), self._staged.aside():
            yield

    def has_room(self, data: Any) -> bool:
        """Returns whether states of the model, and batches like this one, can be held."""
        tensors = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
        if self.why_not or any(None in t.shape[1:] for t in tensors):
            return False
        batch = sum(nbytes_of(t) if None not in t.shape else 0 for t in tensors)
        return self._rewind.has_room(2 * batch)

    def look_back(self, steps: int) -> None:
        """Takes states so often that so many steps, at most, lead to one that is looked at."""
        self._rewind.most_between = steps

    @property
    def reach(self) -> int:
        """Steps that may pass before the first of them could not be run again."""
        return 0 if self.why_not else self._rewind.reach

    def stretch(self, step: int, function: Any, spec: Any) -> Tape | None:
        """Returns what leads to a training step that has run; None where it is gone.

        Args:
            step: its number.
            function, spec: as of `take`.
        """
        tape = self._rewind.stretch(self._steps(), step)
        if tape is not None:
            tape.train = _trainer(self._model, function, spec, max(1, self._per_call()))
        return tape

    def watch_changes(self, hooks: Hooks) -> None:
        """Notes what is set between steps; called when all variables are there."""
        for variable in variables_of_a_state(self._model):
            if not hooks.stand_before(variable, "assign"):
                hooks.put(variable, "assign", self._watch_assign)

    def _watch_assign(self, variable: Any, assign: Any) -> Any:
        def watched(value: Any) -> Any:
            result = assign(value)
            if tf.executing_eagerly() and not self._in_step:
                with contextlib.suppress(Exception):  # of a value that is not to be had
                    self._changed([variable])
            return result

        return watched

    def validated(self) -> None:
        """Says that a validation pass is over, which may have drawn random numbers."""
        self._changed(
            variable
            for variable in variables_of_a_state(self._model)
            if tf.as_dtype(variable.dtype).is_integer and np.prod(variable.shape) <= _FEW
        )

    def _changed(self, variables: Iterable[Any]) -> None:
        if not self.why_not:
            step = self._steps()
            for variable in variables:
                value = np.array(variable.value.numpy())
                self._rewind.changed(Change(step, variable, value))
                self._due = 0

    def went_bad(self) -> None:
        """Says that the run went bad in the call that is just over."""
        self._rewind.went_bad(self._steps())
        self._due = 0

    # --- Afterwards ---------------------------------------------------------------

    def take(
        self, onset: int, function: Any, spec: Any, own: Sequence[Any]
    ) -> Tape | str:
        """Returns what the training can be run again from; holds no more afterwards.

        Args:
            onset: the training step at which it went bad.
            function: that trained.
            spec: of the batches that it takes.
            own: resources of the step that belong to the probes.

        Returns:
            In words why not, where that is so.
        """
        changed = [variable for _, variable in variables_of(self._model)]
        if any(not is_repeatable(g, changed, own) for g in self._graphs):
            self._rewind.stop(
                "running a step leaves traces (it prints, writes, calls Python)"
            )
        tape = self._rewind.take(self._steps(), onset)
        self._staged.close()
        self._graphs.clear()
        if not isinstance(tape, str):
            per_call = max(1, self._per_call())
            tape.train = _trainer(self._model, function, spec, per_call)
        return tape

    def close(self) -> None:
        """Lets go of everything."""
        self._rewind.stop("the training is over")
        self._graphs.clear()


def _trainer(
    model: Any, function: Any, spec: Any, per_call: int
) -> Callable[[Sequence[Any]], Iterator[tuple[int, dict[str, Any]]]]:
    def train(batches: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        # Of the type that the function was traced for.
        iterator = iter(
            tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
        )
        for first in range(0, len(batches), per_call):
            model.reset_metrics()
            logs = function(iterator)
            yield min(per_call, len(batches) - first), dict(logs)

    return train


def _without_assigning(optimizer: Any, build: Callable[[], None]) -> None:
    """Calls `build`, in which an optimizer of Keras' own assigns nothing."""
    hooks = Hooks()
    while optimizer is not None:
        hooks.put(optimizer, "assign", lambda _, assign: lambda variable, value: None)
        optimizer = getattr(optimizer, "inner_optimizer", None)
    try:
        build()
    finally:
        hooks.remove()
