# SPDX-License-Identifier: Apache-2.0
"""The answer that most bad trials of a search share; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tb_nanwatch.diagnosis.answer import answer_of
from tb_nanwatch.diagnosis.facts import Facts, facts_of
from tb_nanwatch.diagnosis.ranking import Cause, diagnose
from tb_nanwatch.diagnosis.shared import grade, shared, standing_of
from tb_nanwatch.reading.contract.searches import SearchAnswer
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording.trial_names import spoken_name, trial_name

# Names that a sentence lists.
_MAX_NAMES: Final = 5


def search_answer(
    trials: Sequence[Sequence[Session]],
    causes: Mapping[tuple[str, str], Sequence[Cause]],
    with_data: bool = True,
) -> SearchAnswer | None:
    """Returns the answer that most bad trials share, of the trial that is surest of it.

    `diagnosis.shared` chooses it, for the card at the search's end too.

    Args:
        trials: the sessions of each.
        causes: of the runs that went bad, by (run, session id).
        with_data: whether values of single rows of data are told.

    Returns:
        None where none went bad.
    """
    bad = [session for session in map(_worst, trials) if session is not None]
    known = [
        (session, found)
        for session in bad
        if (
            found := causes.get((session.run, session.id))
            or diagnose(_facts(session, with_data))
        )
    ]
    chosen = shared([standing_of(found, s.postmortem) for s, found in known])
    if chosen is None:
        return None
    session, found = known[chosen.shown]
    group = [known[i][0] for i in chosen.alike]
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
        names=[name_of(s) for s in group[:_MAX_NAMES]],
        id=found[0].id,
    )


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
    return max(bad, key=lambda s: grade(s.status.status, s.began_with), default=None)
