# SPDX-License-Identifier: Apache-2.0
"""What the row of a step's sums stands for; most steps are like one before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.torch.tracing import Listed
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import Layout


@dataclass
class Columns:
    """What the row of a step stands for.

    Attributes:
        order: places of what was met, in causal order.
        keys: place in that order of the first of each tensor; those with a column first.
        layout: of the row.
        names: what layouts have in common whose columns stand for the same tensors.
    """

    order: list[int]
    keys: list[int]
    layout: Layout
    names: Any


class Layouts:
    """The columns of all kinds of steps that a training has had."""

    def __init__(self) -> None:
        self._known: dict[Any, Columns] = {}
        # The last list of variables, and what stands for it and its equals in a key.
        self._listed: Listed | None = None
        self._place = 0
        self._places: dict[Any, int] = {}

    def of(
        self, phase: Phase, summed: Collection[int], found: list[Found], listed: Listed
    ) -> Columns:
        """Returns what the row of a step stands for.

        Args:
            phase: of the step.
            summed: ids of the tensors that have a sum.
            found: its tensors, as they were met.
            listed: the variables that were met in each step, last.
        """
        first: dict[int, int] = {}
        end, tail = self._split(found, listed)
        met = tuple(
            [
                (
                    *(f.kind, f.name, f.update, f.tensor.shape, f.tensor.dtype),
                    first.setdefault(id(f.tensor), i),
                )
                for i, f in enumerate(found[:end])
            ]
        )
        if end < len(found) and not listed.ids.isdisjoint(first):
            # A variable is an output as well.
            own = _columns_of(phase, summed, found)
            shared = tuple(own.layout.sources)
            return self._known.setdefault((phase, met, tail, shared), own)
        columns = self._known.get((phase, met, tail))
        if columns is None:
            columns = self._known[phase, met, tail] = _columns_of(phase, summed, found)
        return columns

    def _split(self, found: list[Found], listed: Listed) -> tuple[int, Any]:
        """Returns where the variables begin, and what stands for them in a key."""
        end = len(found) - len(listed.found)
        if not listed.found or end < 0 or found[end] is not listed.found[0]:
            return len(found), None
        if listed is not self._listed:
            self._listed = listed
            self._place = self._places.setdefault(listed.key, len(self._places))
        return end, (self._place, found[end].update)


def _columns_of(phase: Phase, summed: Collection[int], found: list[Found]) -> Columns:
    place = {id(f): i for i, f in enumerate(found)}
    found = in_causal_order(found)
    order = [place[id(f)] for f in found]
    unique: dict[int, int] = {}
    for i, f in enumerate(found):
        unique.setdefault(id(f.tensor), i)
    ids = sorted(unique, key=lambda key: key not in summed)
    at = {key: i for i, key in enumerate(ids)}
    sources = [at[id(f.tensor)] for f in found]
    n = sum(key in summed for key in ids)
    own = [source if source < n else -1 for source in sources]
    probes = [f.probe() for f in found]
    layout = Layout(phase, probes, own, sources, n, False)
    names = (phase, tuple((f.kind, f.name) for f in found), tuple(sources), n)
    return Columns(order, [unique[key] for key in ids], layout, names)
