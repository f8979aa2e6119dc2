# SPDX-License-Identifier: Apache-2.0
"""Sentences of the printed report and its page outside of cards and tables; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import PostMortem
from tb_nanwatch.wording.counts import counted

# Below the report, where not all of it was asked for.
MORE: Final = "--all: every trial, and how sure. --markdown, --html FILE: to pass it on."
# A heading of a stability search, and the legend of the colours.
WHERE_BAD: Final = "Where trainings begin to go bad"
COLOUR: Final = (
    "Colour: how many times larger than in the first step the values have become:"
)
TRAINED_ON_BAD: Final = "trained on NaN or infinity."


def made_text(when: str, version: str) -> str:
    """Returns when the page was made, and how it counts."""
    return (
        f"Made {when} by tb-nanwatch {version}. Epochs and batches count from 1, steps "
        "from 0."
    )


def axis_text(steps: int) -> str:
    """Returns the heading of the lanes of runs of up to so many steps."""
    return f"training (step 0 to {max(0, steps - 1):,}, logarithmic)"


def lane_text(steps: int, onset: int | None) -> str:
    """Returns how many steps a run had, and the first bad one."""
    bad = f", the first bad one {onset:,}" if onset is not None else ""
    return f"{counted(steps, 'step')}{bad}"


def no_column_text(names: Sequence[str]) -> str:
    """Returns the hyperparameters that have no column."""
    return f"Without a column here, for want of width: {', '.join(names)}."


def bad_alike_text(count: int, of: int, whose: str) -> str:
    """Returns how many bad trials share the cause, and whose numbers are shown, in brackets."""
    return f"({count} of {of} bad alike; {whose})"


def sure_in_text(surest: str, count: int, of: int, other: str) -> str:
    """Returns "tested in 2 of 5, else likely"."""
    return f"{surest} in {count} of {of}, else {other}"


def boundaries_left_text(count: int) -> str:
    """Returns how many boundaries of a frontier are not printed."""
    return f"And {count:,} more boundar{'y' if count == 1 else 'ies'} (--all)."


def kept_text(kept: float | None, steps: int, brief: bool) -> str:
    """Returns how much of the space lives, and for how long that holds.

    Args:
        kept: share of what was searched; None where no part is sure enough.
        steps: of the trials.
        brief: whether `--all` prints more.
    """
    what = (
        f"the space that lives keeps {kept:.0%} of what was searched"
        if kept is not None
        else "no part of what was searched is sure enough to live"
    )
    more = " --all prints where it ends, and its code." if brief else ""
    return f"This holds for {counted(steps, 'step')} of training; {what}.{more}"


def attempt_text(name: str, superseded: bool) -> str:
    """Returns the name for a damaged log: of a run, or of an attempt that another replaced."""
    return f"Damage in {'an earlier attempt of ' if superseded else ''}{name}"


def closest_call_text(name: str, call: str, more: int) -> str:
    """Returns which finite run came nearest to an overflow, and how many more came near."""
    others = f"; {more} more came within a decade" if more else ""
    return f"Closest call of what stayed finite: {name}, {call}{others}."


def postmortem_texts(found: PostMortem | None) -> list[str]:
    """Returns the results of running the failing step again, a sentence each."""
    if not found:
        return []
    said = []
    if found.text:
        source = found.source
        line = f" (the line: {source.text})" if source and source.text else ""
        said.append(f"the first bad tensor comes from {found.text}{line}.")
    elif found.reason:
        said.append(found.reason)
    kept = [e.text for e in found.experiments if e.finite and e.learns is not False]
    if kept:
        said.append(f"it would have stayed finite with {', or '.join(kept)}.")
    return said


def replay_text(name: str) -> str:
    """Returns the sentence that explains the replay command below it."""
    return f"{name}, the failing step again:"


def placeholders_text(with_file: bool) -> str:
    """Returns how to replace FUNCTION, and FILE.py if it stands in the command."""
    which = "FILE.py is your program, and " if with_file else ""
    return (
        f"({which}FUNCTION the one in it that returns the compiled model, such as the "
        "build function of a search.)"
    )
