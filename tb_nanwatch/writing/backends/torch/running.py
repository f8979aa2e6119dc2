# SPDX-License-Identifier: Apache-2.0
"""The step that is running: its batch, its sums, and which tensors are bad by now."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.torch.capture import Early
from tb_nanwatch.writing.backends.torch.journal import Journal, PartPlan
from tb_nanwatch.writing.backends.torch.proofs import LARGE, proofs
from tb_nanwatch.writing.backends.torch.sums import half_sums
from tb_nanwatch.writing.backends.torch.tracing import Listed
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import NOT_SUMMED, Floats


@dataclass
class Step:
    """The step that is running.

    Attributes:
        phase, number: which step.
        data: its batch.
        can_be_bad: whether a tensor can hold a non-finite value.
        journal: what its hooks met.
        early: what its forward pass changes, from before; None where nothing is kept.
        sums: half sums of squares that are known by now, by the id of the tensor.
        kept: it, from before its update, where something was bad by then.
        updates: that were made.
        listed: the variables that it met last.
        is_over: nothing more will be met.
        later: its sums stay where they are, and are read with those of other steps.
    """

    phase: Phase
    number: int
    data: Any
    can_be_bad: Callable[[Any], bool]
    journal: Journal
    early: Early | None = None
    sums: dict[int, float] = field(default_factory=dict)
    kept: Kept | None = None
    updates: int = 0
    later: bool = False
    listed: Listed | None = None
    is_over: bool = False
    _given: int = 0
    # Of parts of the step that have a plan: tensors that were summed, and their sums.
    _summed: list[Any] = field(default_factory=list)
    _planned: list[float] = field(default_factory=list)

    def bad_of(self, found: list[Found]) -> set[tuple[str, str]]:
        """Returns kind and name of all of which the sum is not finite."""
        self.add_sums(found)
        if math.isfinite(self.total):
            return set()
        return {
            (f.kind, f.name)
            for f in found
            if not math.isfinite(self.sums.get(id(f.tensor), 0.0))
        }

    @property
    def total(self) -> float:
        """The sum of all sums."""
        return sum(self.sums.values(), sum(self._planned))

    def add_sums(self, found: list[Found]) -> None:
        """Adds the sums of tensors that have none yet, `NOT_SUMMED` where one is proved.

        Args:
            found: all that was met so far; those that were given before come first.
        """
        known = self.sums
        known.update(zip(map(id, self._summed), self._planned, strict=True))
        self._summed, self._planned = [], []
        new: dict[int, Any] = {}
        large = 0
        for f in found[self._given :]:
            tensor = f.tensor
            key = id(tensor)
            if key not in known and self.can_be_bad(tensor):
                new[key] = tensor
                large += tensor.numel() >= LARGE
        self._given = len(found)
        known.update(_sums_of(new, large > 1))

    def add_planned(self) -> None:
        """Adds the sums of the parts of the step that are like those of one before."""
        journal = self.journal
        for plan in journal.take_plans():
            tensors = [journal.tensors[i] for i in plan.summed]
            self._summed += tensors
            if plan.has_proofs:
                sums = _sums_of({id(t): t for t in tensors}, plan.has_proofs)
                self._planned += [sums[id(t)] for t in tensors]
            else:
                self._planned += half_sums(tensors)
            if plan.sums_listed and self.listed is not None:
                self._summed += self.listed.tensors
                self._planned += self.listed.lasting.half_sums()

    def planned_row(self, plan: PartPlan) -> Floats:
        """Returns the row of a step that is like one before, by the plan of its last part."""
        return _row([self._planned[i] for i in plan.order])

    def row(self, tensors: Iterable[Any]) -> Floats:
        """Returns the sums of tensors side by side."""
        return _row([self.sums[id(t)] for t in tensors])


def _row(sums: list[float]) -> Floats:
    # Python's own array makes infinity of what is too large, without a word.
    return np.frombuffer(array("f", sums), np.float32)


def _sums_of(tensors: Mapping[int, Any], has_proofs: bool) -> dict[int, float]:
    """Returns the sums of tensors, `NOT_SUMMED` where one is proved, by their ids."""
    proved = proofs(tensors) if has_proofs else {}
    own = [key for key in tensors if key not in proved]
    sums = dict(zip(own, half_sums([tensors[key] for key in own]), strict=True))
    if all(math.isfinite(sums[proof]) for proof in set(proved.values())):
        sums.update(dict.fromkeys(proved, float(NOT_SUMMED)))
    else:
        sums.update(zip(proved, half_sums([tensors[k] for k in proved]), strict=True))
    return sums
