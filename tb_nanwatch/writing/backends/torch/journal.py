# SPDX-License-Identifier: Apache-2.0
"""What the hooks of a step met, without its names; most steps are like one before.

A hook hands over what it met, and that is all: to name each tensor, and to tell what the row
of its sums stands for, costs a small model a tenth of its step. A part of a step is what lies
between two updates, or before the first, or after the last. A part that met the same as one
before it, hook by hook, with tensors of the same shapes and dtypes, has a plan: which of its
tensors are summed. The plan of the last part says which row the sums make. Only a step that
has no plan, or stands out, is given its names, by the tracer and of these very tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Any, Final

import numpy as np
import torch

from tb_nanwatch.writing.backends.torch.columns import Columns
from tb_nanwatch.writing.backends.torch.proofs import LARGE
from tb_nanwatch.writing.backends.torch.tracing import Listed
from tb_nanwatch.writing.backends.tracing import Found

# Plans that may follow one: sequences of ever new lengths leave no more behind.
_MOST_KINDS: Final = 64
# What tells the kind of a tensor.
_LOOKS: Final = attrgetter("shape", "dtype", "layout", "device")
_TENSORS: Final = (torch.Tensor, torch.nn.Parameter)
# What the tracer passes over, and what it makes a tensor of.
_NOTHING: Final = (type(None), int, str, np.integer, np.bool_)
_NUMBERS: Final = (float, np.floating)


@dataclass
class PartPlan:
    """What is to be done in a part of a step that is like one before.

    Attributes:
        summed: places of the tensors that are summed in it, each once.
        sums_listed: whether the listed variables are summed as well, after these.
        has_proofs: whether some are so large that one may prove another one finite.
        next: plans of the parts that have followed.
        columns: of the row of a step that ends here; None where none has.
        places: of the tensor of each column.
        order: place of the sum of each column, among those of all parts.
        held: what is told apart by its id.
    """

    summed: list[int] = field(default_factory=list)
    sums_listed: bool = False
    has_proofs: bool = False
    next: dict[Any, PartPlan] = field(default_factory=dict)
    columns: Columns | None = None
    places: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    held: list[Any] = field(default_factory=list)
    _last: tuple[Any, PartPlan] | None = None

    def after(self, key: Any) -> PartPlan | None:
        """Returns the plan of the part that follows and has this key."""
        # To compare with the last one is quicker than to look up.
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        plan = self.next.get(key)
        if plan is not None:
            self._last = (key, plan)
        return plan


class Journal:
    """What the hooks of one step have met, in their order.

    Args:
        first: the plan before the first part of a step of its phase.
        at_once: each has to be named when it is met.

    Attributes:
        plan: of the part that was closed last; None where there is none.
        tensors: that were met, one and the same as often as it was met.
        is_named: whether any of it was named.
    """

    def __init__(self, first: PartPlan, at_once: bool) -> None:
        self.plan: PartPlan | None = first
        self.tensors: list[Any] = []
        self.is_named = False
        self._first, self._at_once = first, at_once
        self._calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._marks: list[Any] = []
        self._held: list[Any] = []
        self._named = 0
        # Where the open part begins; of those before it, their ends, tensors met and keys.
        self._begin = 0
        self._parts: list[tuple[int, int, Any]] = []
        self._places: dict[int, int] = {}
        self._waiting: list[PartPlan] = []

    def add(self, meet: Callable[..., None], met: tuple[Any, ...]) -> None:
        """Adds what a hook has met.

        Args:
            meet: names it: always the same of one hook.
            met: what `meet` is called with; the tensors are in the first.
        """
        if type(met[0]) is torch.Tensor:  # as most are
            self.tensors.append(met[0])
        else:
            self._marks.append(len(self._calls))
            met = (self._taken(met[0]), *met[1:])
        self._calls.append((meet, met))
        if self._at_once:
            self.name()

    def _taken(self, value: Any) -> Any:
        """Takes a structure apart; returns it as it is now, whatever is done to it later."""
        kind = type(value)
        self._marks.append(kind)
        if kind in _TENSORS:
            self.tensors.append(value)
        elif kind is list or kind is tuple:
            self._marks.append(len(value))
            return kind([self._taken(part) for part in value])
        elif kind is dict:
            self._marks.append(tuple(value))
            return {key: self._taken(part) for key, part in value.items()}
        elif isinstance(value, _NUMBERS):
            value = torch.as_tensor(value)
            self.tensors.append(value)
        elif not isinstance(value, _NOTHING):
            self._at_once = True
        return value

    def tell_apart(self, variables: Sequence[Any]) -> None:
        """Notes the variables whose gradients were met: their names are told by these."""
        self._marks.append(tuple(map(id, variables)))
        self._held.append(variables)

    def close(self, listed: Listed | None = None) -> PartPlan | None:
        """Closes a part of the step; returns its plan.

        Args:
            listed: the variables, after the last part.
        """
        begin, tensors = self._begin, self.tensors
        new = tensors[begin:]
        ids = list(map(id, new))
        # Which of them are one and the same, and the same as one of an earlier part.
        self._places = places = {**dict(zip(ids, count(begin))), **self._places}
        same = tuple(map(places.__getitem__, ids))
        ends: Any = None
        if listed is not None:
            shared = not listed.ids.isdisjoint(places)
            ends = (
                listed.kind,
                shared and tuple(map(places.get, map(id, listed.tensors))),
            )
            tensors += listed.tensors
        hooks = tuple([meet for meet, _ in self._calls])
        key = (hooks, tuple(self._marks), tuple(map(_LOOKS, new)), same, ends)
        self._begin = len(tensors)
        self._parts.append((self._begin, len(new), key))
        if self.plan is not None:
            self.plan = self.plan.after(key)
        if self.plan is not None:
            self._waiting.append(self.plan)
        return self.plan

    def take_plans(self) -> list[PartPlan]:
        """Returns the plans of the closed parts that were not taken yet."""
        plans, self._waiting = self._waiting, []
        return plans

    def name(self) -> None:
        """Has the tracer name what was met and has no name yet."""
        self.is_named = True
        calls = self._calls[self._named :]
        self._named = len(self._calls)
        for meet, met in calls:
            meet(*met)

    def learn(self, columns: Columns, found: list[Found]) -> None:
        """Makes the plans of a step that was named, for the next of its kind.

        Args:
            columns: of its row.
            found: all that was named.
        """
        if self._at_once:
            return
        summed = {id(t) for t in columns.summed(found)}
        place: dict[int, int] = {}
        for i, tensor in enumerate(self.tensors):
            place.setdefault(id(tensor), i)
        if not summed <= place.keys():
            return  # a tensor was made to be named
        plan, begin, order = self._first, 0, []
        for end, number, key in self._parts:
            own = [
                i
                for i, tensor in enumerate(self.tensors[begin:end], begin)
                if id(tensor) in summed and place[id(tensor)] == i
            ]
            order += own
            large = sum(self.tensors[i].numel() >= LARGE for i in own)
            listed = list(range(begin + number, end))
            sums_listed = bool(listed) and own[-len(listed) :] == listed
            if sums_listed:
                del own[-len(listed) :]
            if len(plan.next) >= _MOST_KINDS:
                plan.next.clear()
            plan = plan.next.setdefault(
                key, PartPlan(own, sums_listed, large > 1, held=self._held)
            )
            if plan.summed != own:
                return  # what is summed depends on what comes later
            begin = end
        at = {place: i for i, place in enumerate(order)}
        plan.places = [place[id(t)] for t in columns.summed(found)]
        plan.order = [at[i] for i in plan.places]
        plan.columns = columns
