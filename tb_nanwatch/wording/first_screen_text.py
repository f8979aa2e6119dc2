# SPDX-License-Identifier: Apache-2.0
"""Sentences for the first screen of a search: what happened, why, what to change; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.wording.counts import counted

# Behind the counts of a condition that they do not prove.
BY_CHANCE: Final = "It may be chance."
# Names that one sentence lists.
_MAX_NAMES: Final = 3


def stopped_text(total: int, exception: str | None = None) -> str:
    """Returns that somebody, or an exception, ended a search after `total` trials."""
    if exception is None:
        return f"Search interrupted by hand after {counted(total, 'trial')}"
    return f"Search ended by an exception after {counted(total, 'trial')}: {exception}"


def aborted_text(row: int, alike: bool) -> str:
    """Returns that `row` failed trials ended a search, and whether they died alike."""
    same = ", all for the same reason" if alike and row > 1 else ""
    failed = "one trial" if row == 1 else f"{counted(row, 'trial')} in a row"
    return f"Search aborted: {failed} failed{same}"


def condition_went_bad_text(
    noun: str, condition: str, inside: tuple[int, int], outside: tuple[int, int]
) -> str:
    """Returns how many went bad (each: bad, all) with a condition and without it."""
    (hits, size), (others, rest) = inside, outside
    every = "both" if size == 2 else f"all {size}"
    of = every if hits == size > 1 else f"{hits} of the {size}"
    said = f"{of} {noun}s with {condition} went bad"
    if size == 1:
        said = f"the one {noun} with {condition} went bad"
    if rest == 1:
        return f"{said}, the other one {'too' if others else 'did not'}"
    return f"{said}, {others} of the {rest} others" if rest else said


def tested_text(whose: str, changed: str) -> str:
    """Returns which trial stayed finite when it was run again, and with what change."""
    return (
        f"Tested: {whose}, run again with {changed or 'one thing changed'}, stays finite."
    )


def narrow_text(hparam: str, saves: str, by_hand: bool) -> str:
    """Returns the fix that narrows a space; `by_hand` where no space declares the values."""
    if by_hand:
        return f"Leave out these values of `{hparam}`: that {saves}."
    return f"Narrow `{hparam}` by this edit: it {saves}."


def alike_text(noun: str, count: int, of: int, whose: str) -> str:
    """Returns how many bad trials share the cause, and whose numbers are shown."""
    every = "Both" if of == 2 else f"All {of}"
    which = every if count == of else f"{count} of {of}"
    return f"{which} bad {noun} alike; the numbers are those of {whose}."


def scored_text(names: Sequence[str]) -> str:
    """Returns which trials went bad but have a score; one name at least."""
    if len(names) == 1:
        return f"{names[0]} went bad but has a score: do not use it."
    listed = ", ".join(names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{listed}{more} went bad but have a score: do not use them."
