# SPDX-License-Identifier: Apache-2.0
"""The edit of a search's space for a cut that the user placed in the tab; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tb_nanwatch.declaring.cut import Cut
from tb_nanwatch.reading.search import edit as edits
from tb_nanwatch.reading.search.axes import Axis, distinct_specs
from tb_nanwatch.reading.search.edit import Edit
from tb_nanwatch.reading.search.trials import known_space
from tb_nanwatch.record.schema import HParam, JSONScalar


@dataclass(frozen=True)
class Where:
    """The trials that a cut is for: those in which a hyperparameter has a value."""

    name: str
    value: JSONScalar


def edit_for(
    trials: Sequence[Sequence[HParam]], cut: Cut, where: Where | None = None
) -> Edit | None:
    """Returns the edit that makes a cut, None where none can.

    Args:
        trials: the hyperparameters of each trial of the search.
        cut: what is taken away.
        where: of which trials only; None for all.
    """
    known = known_space(trials)
    axis = _axis(trials, cut.name)
    if where is None:
        alone = edits.by_hand([cut], [axis])
        return alone or edits.unconditional(cut, axis, known)
    order = [h.name for h in known]
    if cut.name not in order or where.name not in order:
        return None
    first = order.index(where.name) < order.index(cut.name)
    parent = _axis(trials, where.name)
    both = edits.by_hand(
        [cut, Cut(where.name, "in", values=(where.value,))], [axis, parent]
    )
    if both is not None:
        return both
    return edits.within(cut, axis, parent, [where.value], known, first)


def _axis(trials: Sequence[Sequence[HParam]], name: str) -> Axis:
    """Returns a hyperparameter's axis with its declarations alone; an edit needs no more."""
    return Axis(name, distinct_specs([h for t in trials for h in t if h.name == name]))
