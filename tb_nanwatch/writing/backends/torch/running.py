# SPDX-License-Identifier: Apache-2.0
"""The step that is running: its batch, its sums, and which tensors are bad by now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.torch.capture import Early
from tb_nanwatch.writing.backends.torch.columns import Columns
from tb_nanwatch.writing.backends.torch.proofs import LARGE, proofs
from tb_nanwatch.writing.backends.torch.sums import Flat, half_sums
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import NOT_SUMMED, Floats


@dataclass
class Step:
    """The step that is running.

    Attributes:
        phase, number: which step.
        data: its batch.
        can_be_bad: whether a tensor can hold a non-finite value.
        early: what its forward pass changes, from before; None where nothing is kept.
        sums: half sums of squares that are known by now, by the id of the tensor.
        kept: it, from before its update, where something was bad by then.
        updates: that were made.
        later: its sums stay where they are, and are read with those of other steps.
        flats: elements of tensors that live on, as `half_sums` takes them.
    """

    phase: Phase
    number: int
    data: Any
    can_be_bad: Callable[[Any], bool]
    early: Early | None = None
    sums: dict[int, float] = field(default_factory=dict)
    kept: Kept | None = None
    updates: int = 0
    later: bool = False
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
        proved = proofs(new) if large > 1 else {}
        if not proved:
            self._measure(new)
            return
        self._measure({k: t for k, t in new.items() if k not in proved})
        known.update(dict.fromkeys(proved, float(NOT_SUMMED)))
        if not all(math.isfinite(known[proof]) for proof in set(proved.values())):
            self._measure({key: new[key] for key in proved})

    def _measure(self, tensors: dict[int, Any]) -> None:
        sums = half_sums(list(tensors.values()), self.flats)
        self.sums.update(zip(tensors, sums, strict=True))

    def row(self, found: list[Found], columns: Columns) -> Floats:
        """Returns the sums side by side, as `columns` has them."""
        met = [found[columns.order[i]].tensor for i in columns.keys]
        sums = [self.sums[id(t)] for t in met[: columns.layout.num_columns]]
        with np.errstate(over="ignore"):
            return np.array(sums, np.float32)
