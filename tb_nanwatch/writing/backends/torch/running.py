# SPDX-License-Identifier: Apache-2.0
"""The step that is running: its batch, its sums, and which tensors are bad by now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.torch.capture import Early
from tb_nanwatch.writing.backends.torch.journal import Journal
from tb_nanwatch.writing.backends.torch.proofs import LARGE, proofs
from tb_nanwatch.writing.backends.torch.sums import Flat, half_sums
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
        flats: elements of tensors that live on, as `half_sums` takes them.
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
    flats: Mapping[int, Flat] = field(default_factory=dict)
    _given: int = 0

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
        return sum(self.sums.values())

    def add_sums(self, found: list[Found]) -> None:
        """Adds the sums of tensors that have none yet, `NOT_SUMMED` where one is proved.

        Args:
            found: all that was met so far; those that were given before come first.
        """
        known = self.sums
        new: dict[int, Any] = {}
        large = 0
        for f in found[self._given :]:
            tensor = f.tensor
            key = id(tensor)
            if key not in known and self.can_be_bad(tensor):
                new[key] = tensor
                large += tensor.numel() >= LARGE
        self._given = len(found)
        if not new:
            return
        self._add(new, large > 1)

    def add_planned(self) -> None:
        """Adds the sums of the parts of the step that are like those of one before."""
        journal = self.journal
        for plan in journal.take_plans():
            tensors = [journal.tensors[i] for i in plan.summed]
            self._add(dict(zip(map(id, tensors), tensors, strict=True)), plan.has_proofs)

    def _add(self, new: dict[int, Any], has_proofs: bool) -> None:
        proved = proofs(new) if has_proofs else {}
        if not proved:
            self._measure(new)
            return
        known = self.sums
        self._measure({k: t for k, t in new.items() if k not in proved})
        known.update(dict.fromkeys(proved, float(NOT_SUMMED)))
        if not all(math.isfinite(known[proof]) for proof in set(proved.values())):
            self._measure({key: new[key] for key in proved})

    def _measure(self, tensors: dict[int, Any]) -> None:
        sums = half_sums(list(tensors.values()), self.flats)
        self.sums.update(zip(tensors, sums, strict=True))

    def row(self, tensors: Iterable[Any]) -> Floats:
        """Returns the sums of tensors side by side."""
        sums = [self.sums[id(t)] for t in tensors]
        with np.errstate(over="ignore"):
            return np.array(sums, np.float32)
