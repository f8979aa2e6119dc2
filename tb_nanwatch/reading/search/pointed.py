# SPDX-License-Identifier: Apache-2.0
"""The condition that the bad trials' own causes point at, where counts cannot prove one; pure.

One trial of three that died of a learning rate too high, at a rate that a hyperparameter
gave, tells where to cut: statistics need more trials, whoever searches on does not.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tb_nanwatch.reading.search.axes import Axis, Bools, HParamCondition
from tb_nanwatch.reading.search.separation import Region
from tb_nanwatch.reading.search.statistics import log_tails
from tb_nanwatch.reading.search.trials import Space, suspects_of

# How sure a cause must be to point at a value.
_SURE: Final = ("tested", "likely")


def pointed(space: Space) -> Region | None:
    """Returns the trials at or beyond the mildest value that was the cause of a bad trial.

    On the one hyperparameter that the causes are about; with one value of another one
    beside it, where all bad trials share that and fewer clean trials are lost.

    Args:
        space: of trials of both outcomes.

    Returns:
        None where the causes point at no value, at several hyperparameters, or the clean
        trials speak against it: most of those at or beyond that value lived.
    """
    sure = np.array([t.sure in _SURE for t in space.trials], np.bool_)
    if not (sure & space.bad)[space.bad].all():
        return None
    suspects = suspects_of(space, least=1)
    if len(suspects) != 1:
        return None
    (at,) = suspects
    axis = space.axes[at]
    about = np.array([t.about is not None for t in space.trials], np.bool_) & space.bad
    # All these causes are about a value that is too high.
    alone = HParamCondition(at, "ge", float(axis.numbers[about].min()))
    options: list[tuple[HParamCondition, ...]] = [(alone,)]
    for i, other in enumerate(space.axes):
        level = _shared_level(other, space.bad)
        if i != at and level is not None:
            both = (alone, HParamCondition(i, "in", levels=frozenset({level})))
            options.append(tuple(sorted(both, key=lambda c: c.axis)))
    regions = [_region(space, conditions, len(options)) for conditions in options]
    best = min(
        regions, key=lambda r: (int((r.inside & ~space.bad).sum()), len(r.conditions))
    )
    hits = int((best.inside & space.bad).sum())
    return best if 2 * hits > int(best.inside.sum()) else None


def _shared_level(axis: Axis, bad: Bools) -> int | None:
    """Returns the one value of an axis without an order that all bad trials have."""
    if axis.ordered:
        return None
    codes = set(axis.codes[bad].tolist())
    (code,) = codes if len(codes) == 1 else (-1,)
    return None if code < 0 else int(code)


def _region(space: Space, conditions: tuple[HParamCondition, ...], looks: int) -> Region:
    """Returns a region with the p-value of its counts.

    Args:
        space: all trials.
        conditions: of the region.
        looks: how many hyperparameters were looked at; each value is one more look.
    """
    inside = np.ones(len(space.trials), np.bool_)
    for condition in conditions:
        inside &= space.axes[condition.axis].holds(condition)
    size, hits = int(inside.sum()), int((inside & space.bad).sum())
    tail = log_tails(len(space.bad), int(space.bad.sum()), np.array([size]))[0, hits]
    raw = float(np.exp(tail))
    return Region(
        conditions, inside, min(1.0, raw * looks * len(space.bad)), raw, 0.0, 0.0
    )
