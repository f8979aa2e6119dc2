# SPDX-License-Identifier: Apache-2.0
"""The answer that most bad trials of a search share; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tb_nanwatch.diagnosis.answer import answer_of, rank
from tb_nanwatch.diagnosis.facts import Facts, facts_of
from tb_nanwatch.diagnosis.ranking import Cause, diagnose
from tb_nanwatch.reading.contract.searches import SearchAnswer
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import BAD_STATUSES, STATUSES
from tb_nanwatch.wording.trial_names import spoken_name, trial_name

# Names that a sentence lists.
_MAX_NAMES: Final = 5


def search_answer(
    trials: Sequence[Sequence[Session]],
    causes: Mapping[tuple[str, str], Sequence[Cause]],
    with_data: bool = True,
) -> SearchAnswer | None:
    """Returns the answer that most bad trials share, of the trial that is surest of it.

    Among those that are as sure it is the one that needed the lowest value, and where
    none was tried the one that died of the mildest: its fix holds for the others too.

    Args:
        trials: the sessions of each.
        causes: of the runs that went bad, by (run, session id).
        with_data: whether values of single rows of data are told.

    Returns:
        None where none went bad.
    """
    bad = [session for session in map(_worst, trials) if session is not None]
    by_cause: dict[str, list[tuple[Session, Sequence[Cause]]]] = {}
    for session in bad:
        found = causes.get((session.run, session.id)) or diagnose(
            _facts(session, with_data)
        )
        if found:
            by_cause.setdefault(found[0].id, []).append((session, found))
    # "unknown" is no answer as long as another trial has a known cause.
    known = {name: group for name, group in by_cause.items() if name != "unknown"}
    if not (known or by_cause):
        return None
    group = max((known or by_cause).values(), key=len)
    session, found = max(group, key=lambda g: _rank(g[1][0]))
    answer = answer_of(
        _facts(session, with_data), found, session.status.steps_after_onset
    )
    if answer is None:
        return None
    return SearchAnswer(
        **vars(answer),
        count=len(group),
        of=len(bad),
        whose=name_of(session),
        names=[name_of(s) for s, _ in group[:_MAX_NAMES]],
        id=found[0].id,
    )


def _rank(cause: Cause) -> tuple[float, ...]:
    return *rank(cause.sure, cause.held, cause.about), cause.confidence


def name_of(session: Session) -> str:
    """Returns a trial as KerasTuner prints it, "Trial #3", or a run's name."""
    status = session.status
    if status.trial_id is None:
        return spoken_name(session.name)
    return trial_name(status.trial_id, status.number)


def _facts(session: Session, with_data: bool) -> Facts:
    return facts_of(session.status, session.began_with, session.postmortem, with_data)


def _worst(sessions: Sequence[Session]) -> Session | None:
    """Returns the session that decides that a trial went bad, None where none did."""
    bad = [s for s in sessions if s.status.status in BAD_STATUSES]
    # A trial that continued with bad weights tells nothing but that.
    first = [s for s in bad if not s.inherited] or bad
    return max(first, key=lambda s: STATUSES.index(s.status.status), default=None)
