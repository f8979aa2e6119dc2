# SPDX-License-Identifier: Apache-2.0
"""Explains why a tuner gave up a search: which trials failed, why, and what to set; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tb_nanwatch.diagnosis.ranking import Cause, diagnose, facts_of
from tb_nanwatch.reading.contract.searches import Aborted
from tb_nanwatch.reading.log.grouping import trials_of
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.search.failures import failure
from tb_nanwatch.reading.search.search_answer import name_of
from tb_nanwatch.reading.search.verdict import NOT_OF_THE_SPACE
from tb_nanwatch.record.schema import BAD_STATUSES, STATUSES, Search
from tb_nanwatch.wording import abort_text as words
from tb_nanwatch.wording.answer_text import label_of
from tb_nanwatch.wording.messages import of_traceback
from tb_nanwatch.wording.places import position_text, tensor_text
from tb_nanwatch.wording.statuses import STATUS_TEXT

# KerasTuner's own default, for logs that do not say.
_DEFAULT_LIMIT: Final = 3
_FAILED: Final = ("FAILED", "INVALID")
_MAX_REASON: Final = 500

Group = list[Session]


def explain(
    search: Search | None,
    sessions: list[Session],
    causes: Mapping[tuple[str, str], Sequence[Cause]] | None = None,
) -> Aborted | None:
    """Returns the explanation of an aborted search, None for any other search.

    `fix` is what to do, with reasons; `next` the same in one sentence or two, for where
    the cause and its fix are told already.

    A search that was resumed after its abort goes on, and counts as aborted no more.

    Args:
        search: what is known of the search; None for runs without one.
        sessions: all of its sessions, in order of their start.
        causes: of runs that went bad, by (run, session id), where they are known.
    """
    aborting = [s for s in sessions if s.trial and s.trial.aborted]
    last = max(aborting, key=lambda s: s.status.updated, default=None)
    if search is None or last is None or last.trial is None:
        return None
    if any(s.status.started > last.status.updated for s in sessions):
        return None
    message = last.trial.aborted or ""
    resumes = search.oracle != "GridSearchOracle"
    if not in_a_row(message):
        go_on = words.goes_on_text(was_interrupted(message), resumes)
        return Aborted(
            trials=[last.trial.trial_id],
            names=[name_of(last)],
            reasons=[failure(last) or _reason([last], causes or {})],
            message=message,
            fix=go_on,
            next=go_on,
        )
    limit = search.max_consecutive_failed_trials or _DEFAULT_LIMIT
    begun = len(trials_of(sessions))
    row = _failed_in_a_row(sessions, limit)
    bad = sum(any(s.status.status in BAD_STATUSES for s in g) for g in row)
    shared = _shared_cause(row, causes or {})
    # At its last trial a higher limit would have let no more of them run.
    last_one = search.max_trials is not None and begun >= search.max_trials
    raised = None if last_one else words.raised_failure_limit(limit, search.max_trials)
    return Aborted(
        trials=[str(group[0].status.trial_id) for group in row],
        names=[name_of(group[0]) for group in row],
        reasons=[_reason(group, causes or {}) for group in row],
        message=message,
        fix=words.in_a_row_text(
            (len(row), bad),
            limit,
            search.max_trials,
            label_of(shared) if shared else "",
            raised,
            resumes,
        ),
        next=words.next_text(bool(shared), raised, resumes),
    )


def in_a_row(message: str) -> bool:
    """Returns whether a search was aborted since too many trials failed in a row."""
    return re.search("consecutive failures", message, re.IGNORECASE) is not None


def was_interrupted(message: str) -> bool:
    """Returns whether somebody stopped the search by hand."""
    return message.partition(":")[0] == "KeyboardInterrupt"


def _failed_in_a_row(sessions: list[Session], limit: int) -> list[Group]:
    """Returns the trials that failed one after another, as KerasTuner counts them.

    In the order in which they ended, which several workers make another one than
    that of their starts.
    """
    groups = sorted(
        (g for g in trials_of(sessions).values() if any(s.trial for s in g)),
        key=lambda g: max(s.status.updated for s in g),
    )
    row: list[Group] = []
    for group in groups:
        if not _failed(group):
            row = []
            continue
        row.append(group)
        if len(row) == limit:
            return row
    return row


def _failed(group: Group) -> bool:
    verdict = next(s.trial for s in group if s.trial)
    if verdict.tuner_status in _FAILED:
        return True
    # Where the abort came before the verdict was stored, the word may still be RUNNING
    # for the trial that aborted the search.
    return bool(verdict.aborted) and verdict.tuner_status != "COMPLETED"


def _reason(group: Group, causes: Mapping[tuple[str, str], Sequence[Cause]]) -> str:
    """Returns why a trial failed, in one line."""
    session = max(group, key=lambda s: STATUSES.index(s.status.status))
    status = session.status
    if status.status in BAD_STATUSES:
        text = STATUS_TEXT[status.status]
        if status.onset is not None:
            text += f" at {position_text(status.onset)}"
        if status.origin is not None:
            text += f": {tensor_text(status.origin)}"
        found = causes.get((session.run, session.id)) or diagnose(
            facts_of(status, session.began_with)
        )
        if found and found[0].id != "unknown":
            text += f"; likely cause: {label_of(found[0].id, session.postmortem)}"
        return text
    message = next((s.trial.message for s in group if s.trial and s.trial.message), None)
    said = of_traceback(message or "", _MAX_REASON)
    if said:
        return said
    if session.retry:
        return words.KEPT_NAN
    return words.NO_MESSAGE if status.status == "unwatched" else words.FINITE_BUT_NAN


def _shared_cause(
    row: Sequence[Group], causes: Mapping[tuple[str, str], Sequence[Cause]]
) -> str | None:
    """Returns the cause that all these trials share, if no value in the space would avoid it."""
    found = set()
    for group in row:
        session = max(group, key=lambda s: STATUSES.index(s.status.status))
        known = causes.get((session.run, session.id), ())
        found.add(known[0].id if known else None)
    (cause,) = found if len(found) == 1 else (None,)
    return cause if cause in NOT_OF_THE_SPACE else None
