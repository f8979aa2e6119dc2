# SPDX-License-Identifier: Apache-2.0
"""How the trials of a search ended, and which scores of theirs mislead, in sentences; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.statuses import STATUS_TEXT

_WENT_BAD: Final = {"diverged": "diverged", "stalled": "stalled", "runaway": "ran away"}


def bad_trials_text(
    noun: str, by_status: Mapping[str, int], scored: int, running: int
) -> str:
    """Returns how many trials went bad, in a sentence.

    Args:
        noun: "trial", or "run" of trainings without a search.
        by_status: number of trials with each status.
        scored: bad trials that the tuner took a score from.
        running: trials that run still.
    """
    total = sum(by_status.values())
    kinds = {s: by_status[s] for s in BAD_STATUSES if by_status.get(s)}
    bad = sum(kinds.values())
    if bad:
        which = f"All {total}" if bad == total > 1 else f"{bad} of {total}"
        said = ", ".join(f"{n} {STATUS_TEXT[s]}" for s, n in kinds.items())
        text = f"{which} {noun}s went bad ({said})"
        if scored:
            text += f"; {scored} of them {'was' if scored == 1 else 'were'} scored anyway"
        return f"{text}."
    if by_status.get("unwatched", 0) == total:
        return f"No {noun} was watched."
    return f"No {noun} has gone bad so far." if running else f"No {noun} went bad."


def other_outcomes(running: int, contained: int, scalars: int, quiet: int) -> list[str]:
    """Returns a sentence for each other outcome that trials had, "" where none had it.

    Args:
        running: trials that run still.
        contained: whose bad values reached neither the loss nor anything that lasts.
        scalars: without NaN Watch, of which a logged scalar was non-finite.
        quiet: that ended without being watched.
    """
    return [
        f"{running} {'is' if running == 1 else 'are'} still running." if running else "",
        f"{contained} had non-finite values that reached neither the loss nor "
        "anything that lasts."
        if contained
        else "",
        f"In {scalars} of the trials without NaN Watch, a logged scalar was NaN or "
        "infinite."
        if scalars
        else "",
        f"{quiet} ended without being watched." if quiet else "",
    ]


def end_text(interrupted: bool) -> str:
    """Returns the sentence for a search that did not end by itself."""
    return f"The search was {'interrupted' if interrupted else 'aborted'}."


def replaced_text(count: int) -> str:
    """Returns that earlier attempts at some trials are not shown."""
    return (
        f"{count} earlier attempt{'s' if count > 1 else ''} of these trials not shown; the "
        "latest decides."
    )


def brief_text(said: str, by_status: Mapping[str, int]) -> str:
    """Returns `bad_trials_text` with one word for how, where all went bad alike.

    Args:
        said: the text, and what follows it.
        by_status: number of trials with each status.
    """
    said = re.sub(r"^1 of 1 (\w+)s ", r"The only \1 ", said)
    kinds = [s for s in BAD_STATUSES if s in by_status]
    if len(kinds) != 1:
        return said
    (kind,) = kinds
    long = f"went bad ({by_status[kind]} {STATUS_TEXT[kind]})"
    return said.replace(long, _WENT_BAD.get(kind, long), 1)


def more_runs_text(count: int, bad: int) -> str:
    """Returns how many runs have no card of their own."""
    return f"{counted(count, 'more run')}, {bad:,} of them bad."


def cost_text(share: float, after: float, seconds: float) -> str:
    """Returns what the training after the first bad steps cost, as a share and in seconds."""
    return (
        f"{share:.0%} of the training time ({_duration_text(after)} of "
        f"{_duration_text(seconds)}) was spent after the first bad step; "
        f'on_nonfinite="stop" would have saved {_duration_text(after)}.'
    ).replace("%", " %", 1)


def _duration_text(seconds: float) -> str:
    """Returns "0.4 s", "12 s", "12 min" or "3.4 h"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def bad_scalar_text(
    tag: str, phase: str, count: int, total: int, first_epoch: int
) -> str:
    """Returns in how many epochs a logged scalar was not finite, as a sentence.

    Args:
        tag, phase: of the scalar.
        count, total: epochs in which it was not, and all.
        first_epoch: the first of these, from 0; displayed from 1, as in Keras' progress bar.
    """
    return (
        f"{tag} ({phase}) was NaN or infinite in {count:,} of {total:,} epochs, the first "
        f"of them epoch {first_epoch + 1}."
    )


def scored_text(score: float, name: str | None) -> str:
    """Returns which score was taken, by name where no tuner took it; another text goes on."""
    if name is not None:
        return f"Its score is the {name} {score:.5g}"
    return f"KerasTuner completed it with the score {score:.5g}, that"


def damaged_text(scored: str, epoch: int, what: str) -> str:
    """Returns that a score was measured on a model that was not finite.

    Args:
        scored: the beginning.
        epoch: counted from 0.
        what: "weights" and the like, "" where a log does not tell.
    """
    return (
        f"{scored} of epoch {epoch + 1}, measured while {what or 'the model'} held NaN or "
        "infinite values: it compares with nothing."
    )


def stale_text(scored: str, epoch: int, onset: int) -> str:
    """Returns that a score is of an epoch before the first bad one, counted from 0."""
    return f"{scored} of epoch {epoch + 1}; it went bad in epoch {onset + 1}."


def infinite_text(score: float, read_as_zero: bool, minimised: bool) -> str:
    """Returns that KerasTuner took an infinite objective, which its oracle may have read."""
    text = f"KerasTuner took the infinite objective ({score}) for a result."
    if read_as_zero:
        text += " The Bayesian oracle read it as 0"
        if minimised:
            text += ", to be minimised: better than any positive loss"
        text += ", and chose later values by that."
    return text
