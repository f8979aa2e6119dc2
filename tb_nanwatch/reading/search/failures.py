# SPDX-License-Identifier: Apache-2.0
"""Trials that an exception ended, and the exception's message; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording import failures_text as words
from tb_nanwatch.wording.messages import of_exception, of_traceback

# How NanWatch's own message begins, of a run whose status says as much.
_OWN = "NaN Watch: "


def failure(session: Session) -> str | None:
    """Returns "ValueError: no data" of a run that an exception ended, else None."""
    if session.state != "failed":
        return None
    status, trial = session.status, session.trial
    said = None
    if status.error_type:
        said = of_exception(status.error_type, status.error_message or "")
        if said != of_exception(status.error_type, ""):
            return said
    if trial is not None and trial.message:
        # A long message may have been cut before what it says.
        return of_traceback(trial.message) or said
    return said


def failure_text(session: Session) -> str | None:
    """Returns the same as a sentence, None where the run's row says it already."""
    said = failure(session)
    if said is None or _OWN in said:
        return None
    return words.failed_with_text(said)


def unwatched_text(session: Session) -> str | None:
    """Returns why a run was not watched, as a sentence; None where it was, or failed."""
    why = session.status.why_unwatched
    if session.status.status != "unwatched" or not why:
        return None
    return f"it was not watched: {why}."


def reasons_text(trials: Iterable[Sequence[Session]]) -> str:
    """Returns why trials were not watched, the most frequent reason first; "" for none.

    Args:
        trials: the deciding sessions of each that was not, and did not fail.
    """
    reasons = [next((s.status.why_unwatched for s in group), "") for group in trials]
    return words.reasons_text(reasons)


def failures_text(trials: Iterable[Sequence[Session]]) -> str:
    """Returns how many trials an exception ended that had not gone bad, and which.

    Args:
        trials: the deciding sessions of each.

    Returns:
        A sentence for each type of exception, the most frequent first; "" for none.
    """
    found: dict[str, list[str]] = {}
    for group in trials:
        if any(s.status.status in BAD_STATUSES for s in group):
            continue
        said = next(filter(None, map(failure, group)), None)
        if said is not None:
            found.setdefault(said.partition(": ")[0], []).append(said)
    return words.failures_text(found)
