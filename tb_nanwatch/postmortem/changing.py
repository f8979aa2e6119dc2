# SPDX-License-Identifier: Apache-2.0
"""The types of a change to a training, of its input and of its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tb_nanwatch.postmortem.epsilon import Calls
from tb_nanwatch.postmortem.tape import Change
from tb_nanwatch.record.schema import PostMortem


class NotApplicableError(Exception):
    """A change does not apply to this training; the message says why."""


@dataclass
class Case:
    """The training that went bad, as the changes see it.

    Attributes:
        model: that was trained.
        found: the post-mortem of its failing step.
        trains: whether the failing step updates the weights.
        before_update: whether it went bad before its update.
        batches: whose scale is that of the data; leaves are arrays.
        onset: number of the failing batch among them.
        from_before: whether the training is run again from before the failing step.
        before: the batch before the failing one, None where it was not kept.
        calls: of the backend (`means.Means`); None where no operation can be changed.
    """

    model: Any
    found: PostMortem
    trains: bool
    before_update: bool
    batches: Sequence[Any]
    onset: int
    from_before: bool
    before: Any = None
    calls: Calls | None = None


@dataclass
class Altered:
    """A training with one change applied: how it is run again.

    Attributes:
        data: returns the batch in the place of the n-th one, with arrays as leaves; None
            where batches stay as they are.
        begun: called once the state from before the first step is set.
        changed: returns the new value of a variable that a callback had set.
        value: the number that was set, such as a learning rate.
        text: description of the change, where the change's own text is not specific.
    """

    data: Callable[[Any, int], Any] | None = None
    begun: Callable[[], None] = lambda: None
    changed: Callable[[Change], Any] = lambda change: change.value
    value: float | None = None
    text: str = ""


Apply = Callable[[Case], AbstractContextManager[Altered]]


@dataclass(frozen=True)
class Changing:
    """One change that an experiment can make.

    Attributes:
        id, text: its identifier, and its description in words.
        apply: returns a context in which the training is to be run again.
        retraces: whether the compiled step does not see it, so that the steps have to be
            run operation by operation.
    """

    id: str
    text: str
    apply: Apply
    retraces: bool = False
