# SPDX-License-Identifier: Apache-2.0
"""A stretch of a training that can be run again: where it began, and its batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

# Trains on batches; yields, for each call, the number of its steps and the logs that Keras
# gives.
Logs = dict[str, Any]
Steps = Iterator[tuple[int, Logs]]
Train = Callable[[Sequence[Any]], Steps]


class Change(NamedTuple):
    """A variable that was set between two steps, by a callback for example.

    Attributes:
        step: the first training step that saw it.
        variable: that was set.
        value: that it got, as an array.
    """

    step: int
    variable: Any
    value: Any


@dataclass(frozen=True)
class Plan:
    """The planned length of a training, and the time allowed for running that far again.

    Attributes:
        epoch: steps of an epoch, 0 where that is unknown.
        steps: of the training in all, 0 where that is unknown.
        share: of the time that experiments leave, in [0, 1].
    """

    epoch: int = 0
    steps: int = 0
    share: float = 0.5


@dataclass
class Tape:
    """Consecutive steps of a training, with everything needed to run them again.

    Attributes:
        first: number of the first step.
        restore: sets the model to its state from before that step.
        batches: of the steps, as the training function received them; each leaf is a
            tensor.
        changes: variables set between the steps, or before the first step after the state
            was taken, in their order.
        train: trains by the very function that trained; its metrics are of one call each.
        plan: of the training.
    """

    first: int
    restore: Callable[[], None]
    batches: list[Any]
    changes: list[Change] = field(default_factory=list)
    train: Train = lambda batches: iter(())
    plan: Plan = field(default_factory=Plan)

    def before(self, step: int, most: int) -> list[Any]:
        """Returns the batches of at most `most` steps before a step, with arrays as leaves."""
        end = max(0, step - self.first)
        return [arrays_of(batch) for batch in self.batches[max(0, end - most) : end]]

    def play(
        self,
        batches: Sequence[Any],
        train: Train | None = None,
        begun: Callable[[], None] = lambda: None,
        changed: Callable[[Change], Any] = lambda change: change.value,
    ) -> Steps:
        """Trains from the first step on; yields as `train` does.

        Args:
            batches: in the place of the tape's own; more than these go on behind it.
            train: in the place of the tape's own.
            begun: called once the state is set.
            changed: returns what a variable gets where one was set.
        """
        self.restore()
        begun()
        waiting = list(self.changes)
        cuts = {c.step - self.first for c in waiting}
        inside = sorted(cut for cut in cuts if 0 < cut < len(batches))

        def set_before(step: int) -> None:
            while waiting and waiting[0].step - self.first <= step:
                change = waiting.pop(0)
                set_value(change.variable, changed(change))

        for start, end in itertools.pairwise([0, *inside, len(batches)]):
            set_before(start)
            yield from (train or self.train)(batches[start:end])
        # Changes set before a later step, such as a failing one, apply to that step.
        set_before(len(batches))


def arrays_of(batch: Any) -> Any:
    """Returns a batch with arrays in the place of tensors, which on CPU share memory."""
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else array_of(leaf), batch
    )


def array_of(value: Any) -> Any:
    """Returns a tensor, or a number, as an array."""
    if keras.backend.backend() == "torch" and hasattr(value, "detach"):
        return keras.ops.convert_to_numpy(value)  # it may have a gradient
    return np.asarray(value)


def set_value(variable: Any, value: Any) -> None:
    """Sets a Keras variable to the very bits of an array."""
    # Keras' own assign would round a value through the policy's dtype.
    target = variable.value if hasattr(variable.value, "assign") else variable
    target.assign(np.asarray(value))
