# SPDX-License-Identifier: Apache-2.0
"""Groups the sessions of each trial, and finds which of them decide its status; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tb_nanwatch.record.schema import STATUSES, Search, Status

if TYPE_CHECKING:
    from tb_nanwatch.reading.log.session import Session

# Fewer runs than this are not compared with one another.
_MIN_RUNS: Final = 2
_PREFIX: Final = "by-hand:"
# The name of runs that stand in the log directory itself.
_UNNAMED: Final = "Runs with hparams="


def decide(sessions: list[Session]) -> None:
    """Marks as superseded every session that does not decide its trial's execution.

    Several trainings in one attempt at an execution (a `HyperModel.fit` that calls
    `fit` twice, a model that is trained on) are parts of it and decide together: the
    trial is as bad as the worst of them. The tuner's score is that of the last one.

    A retry, or a resumed search that runs a trial again, starts later than what it
    replaces; the attempt's number only breaks ties, since it begins again at 0 when
    a search is resumed. Searches never mix: their ids are part of the key, even
    where they reuse the same run names.

    Outside of a search nothing is tried again: a second program, or a second model,
    that trains into the same directory is a run of its own, beside the first.

    A verdict that was written for one attempt stays with it. The deciding session
    takes the trial's newest verdict where it has none of its own, unless that was
    given to an attempt before it.
    """
    _number(sessions)
    executions: dict[Any, list[Session]] = defaultdict(list)
    for session in sessions:
        executions[(session.trial_key, session.status.execution)].append(session)
    for group in executions.values():
        group.sort(key=lambda s: (s.status.started, s.status.attempt, s.status.updated))
        attempts = _attempts(group)
        for i, attempt in enumerate(attempts):
            for session in attempt:
                session.superseded = attempt is not attempts[-1]
                session.goes_on = session is not attempt[-1]
                # A resumed search, or another worker, counts its attempts from 0 again.
                session.retry = max(session.status.attempt, i)
    verdicts: dict[Any, Any] = {}
    for session in sessions:  # in order of their start
        if session.trial is not None:
            verdicts[session.trial_key] = session
    for session in sessions:
        judged = verdicts.get(session.trial_key)
        if (
            session.trial is None
            and not session.superseded
            and judged is not None
            and not judged.superseded
        ):
            session.trial = judged.trial
    _inherit(sessions)


def _number(sessions: list[Session]) -> None:
    """Numbers the runs that began in the same directory, outside of a search."""
    places: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        if session.status.search is None:
            places[session.run].append(session)
    for group in places.values():
        group.sort(key=lambda s: (s.status.started, s.status.fit, s.status.updated))
        for nth, attempt in enumerate(_attempts(group)):
            for session in attempt:
                session.nth = nth


def _attempts(sessions: list[Session]) -> list[list[Session]]:
    """Returns the sessions of one execution by attempt, in order of their start."""
    attempts: list[list[Session]] = []
    for session in sessions:
        if not attempts or session.status.fit <= attempts[-1][-1].status.fit:
            attempts.append([])
        attempts[-1].append(session)
    return attempts


def _inherit(sessions: list[Session]) -> None:
    """Notes the status of the training that a session's weights came from."""
    trials = trials_of(sessions)
    by_id = {s.id: s for s in sessions}
    for session in sessions:
        lineage, continues = session.status.lineage, session.status.continues
        if continues is not None:
            before = by_id.get(continues)
            session.began_with = before.status.status if before else "unwatched"
            continue
        if lineage is None or lineage.trial_id is None:
            continue
        parent = trials.get((session.search_id, lineage.trial_id))
        session.began_with = worst(parent) if parent else "unwatched"


def trials_of(sessions: list[Session]) -> dict[tuple[str, str], list[Session]]:
    """Returns the deciding sessions of each trial, in order of execution."""
    trials: dict[tuple[str, str], list[Session]] = {}
    for session in sessions:
        if not session.superseded:
            trials.setdefault(session.trial_key, []).append(session)
    for group in trials.values():
        group.sort(key=lambda s: (s.status.execution, s.status.fit))
    return trials


def worst(sessions: list[Session]) -> Status:
    """Returns the worst status of `sessions`, which is the trial's."""
    return max((s.status.status for s in sessions), key=STATUSES.index)


def gather(sessions: Sequence[Session]) -> None:
    """Groups runs that were given `hparams=`: those below one directory become one search.

    Runs of a hand-written loop, Optuna or Ray are then compared like a tuner's trials. The
    objective is the score of these runs, where all are judged by the same.

    Args:
        sessions: in order of their start; what they belong to is set.
    """
    places: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        if session.status.search is None and session.status.hparams:
            places[session.run.rpartition("/")[0]].append(session)
    for place, group in places.items():
        if len({(s.run, s.nth) for s in group}) < _MIN_RUNS:
            continue
        scores = {
            (s.status.score.name, s.status.score.direction)
            for s in group
            if s.status.score
        }
        name, direction = next(iter(scores)) if len(scores) == 1 else (None, None)
        search = Search(
            id=f"{_PREFIX}{place}",
            name=place or _UNNAMED,
            objective=name,
            direction=direction,
            started=group[0].status.started,
        )
        for session in group:
            session.by_hand = search
