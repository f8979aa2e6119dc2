# SPDX-License-Identifier: Apache-2.0
"""One search of the overview, with its findings; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TypedDict

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.contract.searches import (
    Aborted,
    Confirmation,
    Finding,
    Frontier,
    SearchSummary,
    SpaceHParam,
)
from tb_nanwatch.reading.log.grouping import trials_of, worst
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.search import aborted, frontiers
from tb_nanwatch.reading.search.analysis import Analysis
from tb_nanwatch.reading.search.cost import cost
from tb_nanwatch.reading.search.failures import (
    failure,
    failures_text,
    reasons_text,
)
from tb_nanwatch.reading.search.first_screen import first_screen
from tb_nanwatch.reading.search.misread import misread
from tb_nanwatch.reading.search.outcomes import compare
from tb_nanwatch.reading.search.search_answer import name_of, search_answer
from tb_nanwatch.record.schema import STATUSES, ConfirmationRecord
from tb_nanwatch.wording import outcomes_text
from tb_nanwatch.wording.finding_text import (
    confirmation_text,
    counts_of,
    is_confirmed,
)

CausesByRun = Mapping[tuple[str, str], Sequence[Cause]]


def search_entry(
    search_id: str,
    sessions: list[Session],
    causes: CausesByRun,
    snapshot: Snapshot,
    with_data: bool,
) -> tuple[SearchSummary, list[Finding]]:
    """Returns a search and its findings."""
    trials = trials_of(sessions)
    search = _summary(search_id, sessions, causes, with_data)
    confirmed = _confirmation(snapshot.confirmations.get(search_id))
    search = replace(
        search, **_frontier(search, sessions, snapshot), confirmation=confirmed
    )
    notes = _notes(trials)
    if search.purpose == "stability":
        # Its trials were chosen for lying where the frontier is: their shares say
        # nothing, and the frontier says it all. They went bad on purpose.
        search = replace(search, answer=None)
        return replace(search, first=frontiers.first_screen(search, notes)), []
    found = _compared(search, sessions, causes)
    groups = trials.values()
    names = [name_of(s) for s in (next(filter(misread, g), None) for g in groups) if s]
    return replace(
        search,
        first=first_screen(
            search, found.findings, found.verdict, notes, names, found.perhaps
        ),
        verdict=f"{search.verdict} {found.verdict}".strip(),
        rates=found.rates,
    ), found.findings


def _compared(
    search: SearchSummary, sessions: list[Session], causes: CausesByRun
) -> Analysis:
    if not search.search:
        return Analysis()
    return compare(search.search, sessions, search.direction, causes)


def _summary(
    search_id: str, sessions: list[Session], causes: CausesByRun, with_data: bool
) -> SearchSummary:
    """Returns the part of a search's entry that needs no comparison of its trials."""
    trials = trials_of(sessions)
    statuses: Counter[str] = Counter(worst(group) for group in trials.values())
    by_status = {s: statuses[s] for s in STATUSES if s in statuses}
    # Any session's copy will do, but those written by a callback are the most complete.
    search = max(
        (s.search for s in sessions if s.search),
        key=lambda s: bool(s.tuner),
        default=None,
    )
    abort = aborted.explain(search, sessions, causes)
    started = search.started if search and search.started else None
    counted = _verdict(search_id, trials, _notes(trials), abort)
    return SearchSummary(
        search=search_id,
        name=search.name if search else "",
        tuner=search.tuner if search else "",
        objective=search.objective if search else None,
        direction=search.direction if search else None,
        started=_finite(
            started if started is not None else max(s.status.started for s in sessions)
        ),
        trials=len(trials),
        by_status=by_status,
        aborted=abort,
        cost=cost(sessions),
        counted=counted,
        verdict=counted,
        answer=search_answer(list(trials.values()), causes, with_data),
        hparams=_search_space(sessions),
        purpose=search.purpose if search else "search",
    )


Trials = dict[tuple[str, str], list[Session]]


class _Frontier(TypedDict):
    """The fields of `SearchSummary` about frontiers: the one that it found, the one before it."""

    frontier: Frontier | None
    afterwards: str


def _frontier(
    search: SearchSummary, sessions: list[Session], snapshot: Snapshot
) -> _Frontier:
    """Returns the frontier that a search found, or how it fared in an earlier one's space."""
    found = frontiers.entry(snapshot.frontiers.get(search.search))
    known = snapshot.frontiers.values()
    before = [r for r in known if r.written_at <= search.started]
    if search.purpose == "stability" or not before:
        return {"frontier": found, "afterwards": ""}
    last = max(before, key=lambda r: r.written_at)
    return {"frontier": found, "afterwards": frontiers.afterwards(last, sessions)}


def _confirmation(record: ConfirmationRecord | None) -> Confirmation | None:
    """Returns the confirmation in the form that is sent; None where none was logged."""
    if record is None:
        return None
    return Confirmation(
        record.condition,
        record.other,
        counts_of(record, True),
        counts_of(record, False),
        record.p_value,
        is_confirmed(record),
        record.steps,
        record.seconds,
        confirmation_text(record),
    )


def _verdict(
    search_id: str, trials: Trials, notes: Sequence[str], abort: Aborted | None
) -> str:
    """Returns how the trials ended, in sentences made of counts alone."""
    groups = trials.values()
    said = outcomes_text.bad_trials_text(
        "trial" if search_id else "run",
        Counter(map(worst, groups)),
        sum(any(map(misread, g)) for g in groups),
        _running(trials),
    )
    ended = ""
    if abort:
        ended = outcomes_text.end_text(aborted.was_interrupted(abort.message))
    return " ".join(filter(None, (said, *notes, ended)))


def _running(trials: Trials) -> int:
    return sum(any(s.state == "running" for s in g) for g in trials.values())


def _notes(trials: Trials) -> list[str]:
    """Returns remarks, a sentence each, on trials that run, failed or were not watched."""
    groups = trials.values()
    statuses = Counter(map(worst, groups))
    quiet = [g for g in groups if worst(g) == "unwatched" and not any(map(failure, g))]
    running, contained, scalars, unwatched = outcomes_text.other_outcomes(
        _running(trials),
        statuses["contained"],
        sum(any(s.scalars for s in g) for g in groups),
        len(quiet) if statuses["unwatched"] != len(trials) else 0,
    )
    failed, reasons = failures_text(groups), reasons_text(quiet)
    notes = (running, contained, scalars, failed, unwatched, reasons)
    return [note for note in notes if note]


def _search_space(sessions: list[Session]) -> list[SpaceHParam]:
    space: dict[str, SpaceHParam] = {}
    for session in sessions:
        for h in session.status.hparams:
            if is_bookkeeping(h.name, session):
                continue
            known = space.get(h.name)
            if known is None:
                space[h.name] = SpaceHParam(
                    **{f.name: getattr(h, f.name) for f in fields(SpaceHParam)}
                )
            elif h.active and not known.active:
                space[h.name] = replace(known, active=True)
    return list(space.values())


def is_bookkeeping(name: str, session: Session) -> bool:
    """Returns whether a hyperparameter is one of Hyperband's bookkeeping values."""
    return name.startswith("tuner/") and session.status.search is not None


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
