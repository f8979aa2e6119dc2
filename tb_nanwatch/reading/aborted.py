"""A search that the tuner gave up: which trials did it, and what to set; pure."""

from __future__ import annotations

import re
from typing import Any

from tb_nanwatch.reading.grouping import trials_of
from tb_nanwatch.reading.reader import Session
from tb_nanwatch.schema import BAD_STATUSES, Search

# KerasTuner's own default, for logs that do not say.
_DEFAULT_LIMIT = 3
_FAILED = ("FAILED", "INVALID")


def explain(search: Search | None, sessions: list[Session]) -> dict[str, Any] | None:
    """Returns {"trials", "message", "fix"} of an aborted search, or None.

    Args:
        search: what is known of the search; None for runs without one.
        sessions: all of its sessions, in order of their start.
    """
    last = next((s for s in reversed(sessions) if s.trial and s.trial.aborted), None)
    if search is None or last is None or last.trial is None:
        return None
    message = last.trial.aborted or ""
    if not re.search("consecutive failures", message, re.IGNORECASE):
        return {
            "trials": [last.trial.trial_id],
            "message": message,
            "fix": "The search ended with an exception of the program itself; correct "
            "it and run the search again with overwrite=False to go on where it ended.",
        }
    limit = search.max_consecutive_failed_trials or _DEFAULT_LIMIT
    row = _failed_in_a_row(sessions, last)
    trials = [group[0].trial.trial_id for group in row if group[0].trial]
    bad = sum(any(s.status.status in BAD_STATUSES for s in g) for g in row)
    return {
        "trials": trials,
        "message": message,
        "fix": _fix(limit, len(row), bad),
    }


def _failed_in_a_row(sessions: list[Session], last: Session) -> list[list[Session]]:
    """Returns the trials that failed one after another, up to the last of them."""
    row: list[list[Session]] = []
    groups = list(trials_of(sessions).values())
    keys = [group[0].trial_key for group in groups]
    end = keys.index(last.trial_key) if last.trial_key in keys else len(groups) - 1
    for group in reversed(groups[: end + 1]):
        verdict = group[0].trial
        # Where the abort came before the verdict was stored, the word may still be
        # RUNNING for the trial that aborted the search.
        if not (verdict and (verdict.tuner_status in _FAILED or verdict.aborted)):
            break
        row.insert(0, group)
    return row


def _fix(limit: int, count: int, bad: int) -> str:
    which = "These trials all" if bad == count else f"{bad} of these {count} trials"
    told = (
        f"{which} went bad, and KerasTuner counts a NaN objective as a failure"
        if bad
        else f"The last {count} trials failed, and not by going bad: read their messages"
    )
    return (
        f"{told}; after {limit} in a row it gives the whole search up. Give the tuner "
        f"max_consecutive_failed_trials={max(10, 3 * limit)} to let it go on, together "
        "with overwrite=True or a new project_name (otherwise the old search is "
        "reloaded), and narrow the search space to values that live."
    )
