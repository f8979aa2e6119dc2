# SPDX-License-Identifier: Apache-2.0
"""What the row of a step's sums stands for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import Expectation, Floats, Layout


@dataclass
class Outlook:
    """What is expected of steps whose columns stand for the same tensors.

    Attributes:
        expected: what the observer said of the last one that it looked at; None before.
    """

    expected: Expectation | None = None
    # None where something is known to be bad: each column then has to be asked.
    _limit: float | None = None

    def expect(self, expected: Expectation) -> None:
        """Takes what the observer says of the next steps."""
        self.expected = expected
        self._limit = None if expected.bad.any() else expected.limit

    def is_met(self, total: float, row: Floats) -> bool:
        """Returns whether a step need not be looked at.

        Args:
            total: of its sums.
            row: its sums.
        """
        if self._limit is not None and total <= self._limit:
            return True  # all is finite, as it was before
        return not self.stands_out(row)

    def stands_out(self, row: Floats) -> bool:
        """Returns whether a step with this row has to be looked at."""
        return self.expected is None or self.expected.stands_out(row)

    def is_met_by(self, rows: Floats) -> bool:
        """Returns whether no step stands out of those with these rows."""
        return self.expected is not None and self.expected.is_met_by(rows)


@dataclass
class Columns:
    """What the row of a step stands for.

    Attributes:
        order: places of what was met, in causal order.
        keys: place in that order of the first of each tensor; those with a column first.
        layout: of the row.
        outlook: on the next steps.
    """

    order: list[int]
    keys: list[int]
    layout: Layout
    outlook: Outlook

    def tensors(self, found: list[Found]) -> list[Any]:
        """Returns the tensors that were met, each once; those with a column first."""
        return [found[self.order[i]].tensor for i in self.keys]

    def summed(self, found: list[Found]) -> list[Any]:
        """Returns the tensor of each column."""
        return self.tensors(found)[: self.layout.num_columns]


class Layouts:
    """The columns of all kinds of steps that a training has had."""

    def __init__(self) -> None:
        self._known: dict[Any, Columns] = {}
        self._outlooks: dict[Any, Outlook] = {}

    def of(self, phase: Phase, summed: Collection[int], found: list[Found]) -> Columns:
        """Returns what the row of a step stands for.

        Args:
            phase: of the step.
            summed: ids of the tensors that have a sum.
            found: its tensors, as they were met.
        """
        met = found
        place = {id(f): i for i, f in enumerate(met)}
        found = in_causal_order(met)
        order = [place[id(f)] for f in found]
        unique: dict[int, int] = {}
        for i, f in enumerate(found):
            unique.setdefault(id(f.tensor), i)
        ids = sorted(unique, key=lambda key: key not in summed)
        at = {key: i for i, key in enumerate(ids)}
        sources = [at[id(f.tensor)] for f in found]
        n = sum(key in summed for key in ids)
        names = (phase, tuple((f.kind, f.name) for f in found), tuple(sources), n)
        kinds = tuple((f.tensor.shape, f.tensor.dtype) for f in found)
        key = (names, kinds, tuple(order))
        if key not in self._known:
            own = [source if source < n else -1 for source in sources]
            layout = Layout(phase, [f.probe() for f in found], own, sources, n, False)
            outlook = self._outlooks.setdefault(names, Outlook())
            keys = [unique[key] for key in ids]
            self._known[key] = Columns(order, keys, layout, outlook)
        return self._known[key]
