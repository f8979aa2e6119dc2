# SPDX-License-Identifier: Apache-2.0
"""Draws values for trials on both sides of a hint, in pairs alike in all else; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from tb_nanwatch.reading.search.hint import Hint
from tb_nanwatch.reading.search.statistics import log_tails
from tb_nanwatch.record.schema import ShortTrial
from tb_nanwatch.stability.coordinates import Coordinates, Values

# Draws of what a pair shares, and for each of a side, after which there is none.
_TRIES: Final = 200


def sides_of(
    space: Coordinates, hint: Hint, count: int, rng: np.random.Generator
) -> list[tuple[bool, Values]] | None:
    """Returns the values of each trial, and whether they meet the hint's condition.

    All are drawn as `RandomSearch` draws them. Two at a time share all values but those
    that the condition is about, so that nothing else tells the sides apart.

    Args:
        space: the search's.
        hint: whose condition is fixed.
        count: of trials; half of them meet the condition, of an odd number the smaller.
        rng: of the draws.

    Returns:
        None where the space has no values on one of the sides.
    """
    about = {part.name for part in hint.parts}
    found: list[tuple[bool, Values]] = []
    for _ in range(-(-count // 2)):
        pair = _pair(space, hint, about, rng)
        if pair is None:
            return None
        found += [(False, pair[0]), (True, pair[1])]
    return found[:count]


def _pair(
    space: Coordinates, hint: Hint, about: set[str], rng: np.random.Generator
) -> tuple[Values, Values] | None:
    """Returns a set of values that misses the condition, and the same set changed to meet it.

    What they share may leave a side without values: a rate that one optimizer alone has
    is missing with the others.
    """
    for _ in range(_TRIES):
        shared = space.draw(rng)
        beyond = _drawn(space, shared, about, hint.is_beyond, rng)
        meeting = beyond and _drawn(space, shared, about, hint.holds, rng)
        if beyond and meeting:
            return beyond, meeting
    return None


def _drawn(
    space: Coordinates,
    shared: Mapping[str, float],
    about: set[str],
    wanted: Callable[[Values], bool],
    rng: np.random.Generator,
) -> Values | None:
    for _ in range(_TRIES):
        drawn = space.draw(rng)
        values = space.decode({n: (drawn if n in about else shared)[n] for n in drawn})
        if wanted(values):
            return values
    return None


def p_value_of(trials: list[ShortTrial]) -> float:
    """Returns the p-value of Fisher's exact test over the trials, one-sided.

    It is how likely chance alone puts at least so many of the bad ones inside.
    """
    bad = sum(t.bad for t in trials)
    inside = sum(t.inside for t in trials)
    there = sum(t.bad and t.inside for t in trials)
    tails = log_tails(len(trials), bad, np.array([inside]))
    return float(np.exp(tails[0, there]))


def least_p(count: int) -> float:
    """Returns the smallest p-value possible: all trials inside go bad, and no other does."""
    perfect = [i % 2 == 1 for i in range(count)]
    return p_value_of([ShortTrial(inside=inside, bad=inside) for inside in perfect])
