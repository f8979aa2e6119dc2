"""What stands first of a search, in words: what happened, why, what to change; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tb_nanwatch.wording.answer_text import capital
from tb_nanwatch.wording.causes import SURENESS

_DID: Final = {
    "diverged": "diverged",
    "runaway": "ran away",
    "score_lost": "lost their score",
    "stalled": "stalled",
}
# Names that one sentence lists.
_MAX_NAMES: Final = 3


def one_bad_text(whose: str, happened: str, total: int) -> str:
    """Returns what happened to the one bad trial of several, if `total` is above 1."""
    among = f" of {total}" if total > 1 else ""
    return f"{whose}{among} {happened}"


def several_bad_text(noun: str, bad: int, total: int, kinds: Mapping[str, int]) -> str:
    """Returns how many trials went bad, and how.

    Args:
        noun: "trial" or "run".
        bad, total: bad ones, and all.
        kinds: number of bad ones by status.
    """
    which = f"All {total:,} {noun}s" if bad == total else f"{bad:,} of {total:,} {noun}s"
    if len(kinds) == 1:
        return f"{which} {_DID[next(iter(kinds))]}"
    listed = ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in kinds.items())
    return f"{which} went bad: {listed}"


def interrupted_text(total: int) -> str:
    """Returns that somebody stopped a search after `total` trials."""
    return f"Search interrupted by hand after {_trials(total)}"


def ended_by_exception_text(total: int, message: str) -> str:
    """Returns that an exception with this message ended a search."""
    return (
        f"Search ended by an exception after {_trials(total)}: {message.splitlines()[0]}"
    )


def aborted_text(row: int, alike: bool) -> str:
    """Returns that `row` failed trials ended a search, and whether they died alike."""
    same = ", all for the same reason" if alike and row > 1 else ""
    return f"Search aborted: {_trials(row)} in a row failed{same}"


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"


def condition_went_bad_text(
    noun: str, condition: str, inside: tuple[int, int], outside: tuple[int, int]
) -> str:
    """Returns how the trials fared with a condition on their hyperparameters.

    Args:
        noun: "trial" or "run".
        condition: in words.
        inside, outside: bad ones with it and without it, and all of them.
    """
    (hits, size), (others, rest) = inside, outside
    every = "both" if size == 2 else f"all {size}"
    of = every if hits == size > 1 else f"{hits} of the {size}"
    counted = f"{of} {noun}s with {condition} went bad"
    return f"{counted}, {others} of the {rest} others" if rest else counted


def tested_text(whose: str, changed: str) -> str:
    """Returns which trial stayed finite when it was run again, and with what change."""
    return (
        f"Tested: {whose}, run again with {changed or 'one thing changed'}, stays finite."
    )


def keep_out_text(condition: str, mend: str, whose: str, fix: str) -> str:
    """Returns what to change where no edit of the space can be given.

    Args:
        condition: in words.
        mend: the fix of what lies in program or data, "" where the space is to blame.
        whose, fix: of the trial that is surest of the cause, "" where none is.
    """
    if mend:
        return f"{mend} Or keep out of {condition}."
    out = f"Keep out of {condition}."
    return f"{out} For {whose}: {fix}".strip() if whose else out


def narrow_text(hparam: str, saves: str, by_hand: bool, mend: str) -> str:
    """Returns what to change by an edit of the space.

    Args:
        hparam: its name.
        saves: what the edit would have removed and lost.
        by_hand: whether no space declares the hyperparameter.
        mend: as of `keep_out_text`.
    """
    fix = (
        f"Leave out these values of `{hparam}`: that {saves}."
        if by_hand
        else f"Narrow `{hparam}` by this edit: it {saves}."
    )
    return f"{mend} Or {fix[:1].lower()}{fix[1:]}" if mend else fix


def sureness_text(sure: str, record: str) -> str:
    """Returns how sure the cause is, "" where nobody can say; `record` says by what."""
    meaning = SURENESS.get(sure, "")
    said = f"; {record}" if record else ""
    return f"The cause is {sure}: {meaning}{said}." if meaning else ""


def alike_text(noun: str, count: int, of: int, whose: str) -> str:
    """Returns how many of the bad trials died alike, and whose numbers are told."""
    every = "Both" if of == 2 else f"All {of}"
    which = every if count == of else f"{count} of {of}"
    return f"{which} bad {noun}s alike; the numbers are those of {whose}."


def scored_text(names: Sequence[str]) -> str:
    """Returns which trials went bad but have a score; one name at least."""
    if len(names) == 1:
        return f"{names[0]} went bad but has a score: do not use it."
    listed = ", ".join(names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{listed}{more} went bad but have a score: do not use them."


def cause_text(cause: str, counted: str) -> str:
    """Returns the cause, if it is known, with how the trials fared, as a sentence."""
    return f"{capital(cause)}: {counted}." if cause else f"{capital(counted)}."
