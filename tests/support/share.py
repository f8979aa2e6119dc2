"""Chooses the cases of a long list that run at every change; `make thorough` runs the rest.

A share is chosen by a rule and never by hand: what is cut is no case that somebody found
inconvenient. Each rule keeps what it is told to: every case in one of its ways, or every
trait in one of the cases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")
W = TypeVar("W")

# `make thorough` runs all cases.
THOROUGH: Final = os.environ.get("NANWATCH_THOROUGH") == "1"


def by_turns(
    cases: Iterable[tuple[T, Sequence[W]]], thorough: bool = THOROUGH
) -> list[tuple[T, W]]:
    """Returns each case in one of its ways, the ways by turns; thoroughly, in all.

    The k-th case gets the k-th of its ways, counted from the first again after the last.
    """
    return [
        (case, way)
        for k, (case, ways) in enumerate(cases)
        for way in (ways if thorough else (ways[k % len(ways)],))
    ]


def covering(
    cases: Sequence[T],
    traits: Callable[[T], Collection[Hashable]],
    thorough: bool = THOROUGH,
) -> list[T]:
    """Returns as many cases as have every trait among them; thoroughly, all.

    From the last case to the first, each is taken that has a trait which none before had:
    lists begin with what is plain and end with what combines several traits.
    """
    if thorough:
        return list(cases)
    seen: set[Hashable] = set()
    taken: list[T] = []
    for case in reversed(cases):
        found = set(traits(case))
        if not found <= seen:
            taken.append(case)
            seen |= found
    return taken[::-1]
