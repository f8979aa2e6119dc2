"""The overview: what the tab and the page show, and `tb-nanwatch report` prints; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TypedDict

from tb_nanwatch.diagnosis.answer import answer_of, clean_text, label_of
from tb_nanwatch.diagnosis.closest import closest_call
from tb_nanwatch.diagnosis.ranking import Cause, closest_text, diagnose, facts_of
from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import (
    NamedCause,
    Origin,
    Records,
    RunSummary,
    ToldCall,
    ToldScalar,
)
from tb_nanwatch.reading.contract.searches import (
    Aborted,
    Finding,
    Frontier,
    SearchSummary,
    SpaceHParam,
)
from tb_nanwatch.reading.log.grouping import trials_of, worst
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.log.unwatched import bad_scalar_text
from tb_nanwatch.reading.report import reproduction
from tb_nanwatch.reading.search import aborted, confirmations, frontiers
from tb_nanwatch.reading.search.analysis import Analysis
from tb_nanwatch.reading.search.attempts import attempts
from tb_nanwatch.reading.search.cost import cost
from tb_nanwatch.reading.search.failures import (
    failure,
    failure_text,
    failures_text,
    reasons_text,
    unwatched_text,
)
from tb_nanwatch.reading.search.first_screen import first_screen
from tb_nanwatch.reading.search.misread import misread, misread_text
from tb_nanwatch.reading.search.outcomes import compare
from tb_nanwatch.reading.search.search_answer import name_of, search_answer
from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import BAD_STATUSES, STATUSES
from tb_nanwatch.wording.row_values import without_values
from tb_nanwatch.wording.trial_names import inherited_text, lineage_text

CausesByRun = Mapping[tuple[str, str], Sequence[Cause]]


def overview(
    snapshot: Snapshot, causes: CausesByRun | None = None, with_data: bool = True
) -> Overview:
    """Returns the overview of a log directory, without the runs' lanes.

    Searches come newest first, runs without a search last; within a search, runs
    come in the order in which they started.

    Args:
        snapshot: all sessions.
        causes: of the runs that went bad, by (run, session id), where their records
            were read in full; what the status records alone say where they were not.
        with_data: whether values of single rows of data are told; `causes` must be made
            accordingly.
    """
    known = causes or {}
    by_search: dict[str, list[Session]] = {}
    for session in snapshot.sessions:
        by_search.setdefault(session.search_id, []).append(session)
    told = [
        _search(key, group, known, snapshot, with_data)
        for key, group in by_search.items()
    ]
    told.sort(key=lambda s: (s[0].search != "", s[0].started), reverse=True)
    runs = [
        run_entry(session, known.get((session.run, session.id)), with_data)
        for search, _ in told
        for session in by_search[search.search]
    ]
    return Overview(
        searches=[search for search, _ in told],
        runs=[replace(r, attempt=a) for r, a in zip(runs, attempts(runs), strict=True)],
        findings=[finding for _, findings in told for finding in findings],
        warnings=snapshot.warnings,
        with_data=with_data,
    )


def run_entry(
    session: Session, causes: Sequence[Cause] | None = None, with_data: bool = True
) -> RunSummary:
    """Returns one run of the overview.

    Args:
        session: the run's.
        causes: from its full records; those of the status record alone where None.
        with_data: whether values of single rows of data are told.
    """
    facts = facts_of(session.status, session.began_with, session.postmortem, with_data)
    if causes is None:
        causes = diagnose(facts)
    status, trial = session.status, session.trial
    found = session.postmortem
    hparams = [h for h in status.hparams if not _is_bookkeeping(h.name, session)]
    scaled = len(status.lane_loss_scale) > 0
    return RunSummary(
        run=session.run,
        name=name_of(session),
        session=session.id,
        search=session.search_id,
        trial_id=status.trial_id,
        number=status.number,
        execution=status.execution,
        fit=status.fit,
        retry=session.retry,
        superseded=session.superseded,
        worker=status.worker,
        state=session.state,
        stopped_by=status.stopped_by,
        status=status.status,
        tuner_status=trial.tuner_status if trial else None,
        score=session.score if _is_scored(session) else None,
        best_step=session.best_epoch,
        message=trial.message if trial else None,
        failure=failure(session),
        failure_text=failure_text(session),
        unwatched_text=unwatched_text(session),
        misread=misread(session),
        misread_text=misread_text(session),
        hparams={h.name: h.value for h in hparams if h.active},
        inactive=[h.name for h in hparams if not h.active],
        onset=status.onset,
        origin=_origin(status.origin, found),
        contained=status.contained,
        postmortem=found if with_data else without_values(found),
        reproduction=reproduction.script(session),
        causes=[_cause(cause, found) for cause in causes],
        answer=answer_of(facts, causes, status.steps_after_onset),
        clean_text=clean_text(facts),
        started=status.started,
        updated=status.updated,
        steps=status.steps,
        epochs=status.epochs,
        epochs_planned=status.epochs_planned,
        steps_after_onset=status.steps_after_onset,
        seconds_after_onset=status.seconds_after_onset,
        recovered=status.recovered,
        closest=status.closest,
        closest_call=_closest_call(session),
        loss_scale=float(status.lane_loss_scale[-1]) if scaled else None,
        skipped_steps=int(status.lane_skipped.sum()) if scaled else None,
        lineage=status.lineage,
        lineage_text=_lineage_text(status.lineage),
        inherited=session.inherited,
        inherited_text=inherited_text(
            session.inherited,
            status.lineage.trial_id if status.lineage and not status.fit else None,
        ),
        scalars=[ToldScalar(**vars(s), text=bad_scalar_text(s)) for s in session.scalars],
        error_type=status.error_type,
        error_message=status.error_message,
        damage=session.damage,
        records=Records(session.read, session.written),
    )


def _lineage_text(lineage: schema.Lineage | None) -> str:
    if lineage is None:
        return ""
    return lineage_text(lineage.bracket, lineage.round, lineage.trial_id)


def _cause(cause: Cause, found: schema.PostMortem | None) -> NamedCause:
    return NamedCause(
        cause.id,
        cause.sure,
        cause.record,
        cause.confidence,
        cause.evidence,
        cause.fix,
        label_of(cause.id, found),
    )


# --- Searches ---------------------------------------------------------------------


def _search(
    search_id: str,
    sessions: list[Session],
    causes: CausesByRun,
    snapshot: Snapshot,
    with_data: bool,
) -> tuple[SearchSummary, list[Finding]]:
    """Returns a search and its findings."""
    trials = trials_of(sessions)
    search = _summary(search_id, sessions, causes, with_data)
    confirmed = confirmations.entry(snapshot.confirmations.get(search_id))
    search = replace(
        search, **_frontier(search, sessions, snapshot), confirmation=confirmed
    )
    notes = _notes(trials, search.by_status)
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
        first=first_screen(search, found.findings, found.verdict, notes, names),
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
    """Returns a search as far as its trials need not be compared."""
    trials = trials_of(sessions)
    statuses: Counter[str] = Counter(worst(group) for group in trials.values())
    by_status = {s: statuses[s] for s in STATUSES if s in statuses}
    # Any session's copy will do, but one that a callback wrote knows most.
    search = max(
        (s.search for s in sessions if s.search),
        key=lambda s: bool(s.tuner),
        default=None,
    )
    abort = aborted.explain(search, sessions, causes)
    started = search.started if search and search.started else None
    counted = _verdict(
        _facts(search_id, trials, by_status), _notes(trials, by_status), abort
    )
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


class _Frontier(TypedDict):
    """What a search has to do with a frontier, fields of `SearchSummary`."""

    frontier: Frontier | None
    afterwards: str


def _frontier(
    search: SearchSummary, sessions: list[Session], snapshot: Snapshot
) -> _Frontier:
    """Returns the frontier that a search found, or what came of the last one's."""
    found = frontiers.entry(snapshot.frontiers.get(search.search))
    known = snapshot.frontiers.values()
    before = [r for r in known if r.written_at <= search.started]
    if search.purpose == "stability" or not before:
        return {"frontier": found, "afterwards": ""}
    last = max(before, key=lambda r: r.written_at)
    return {"frontier": found, "afterwards": frontiers.afterwards(last, sessions)}


def _is_scored(session: Session) -> bool:
    # A stability search's objective is whether a trial went bad.
    search = session.search
    return search is None or search.purpose != "stability"


def _verdict(facts: str, notes: Sequence[str], abort: Aborted | None) -> str:
    """Returns one sentence or two, made of facts alone."""
    ended = ""
    if abort:
        interrupted = aborted.was_interrupted(abort.message)
        ended = f"The search was {'interrupted' if interrupted else 'aborted'}."
    return " ".join(filter(None, (facts, *notes, ended)))


def _facts(
    search_id: str,
    trials: dict[tuple[str, str], list[Session]],
    by_status: dict[str, int],
) -> str:
    """Returns how many trials went bad, in a sentence."""
    noun = "trial" if search_id else "run"
    total = len(trials)
    bad = sum(by_status.get(s, 0) for s in BAD_STATUSES)
    if bad:
        kinds = [
            f"{by_status[s]} {s.replace('_', ' ')}"
            for s in BAD_STATUSES
            if s in by_status
        ]
        which = (
            f"All {total} {noun}s" if bad == total > 1 else f"{bad} of {total} {noun}s"
        )
        text = f"{which} went bad ({', '.join(kinds)})"
        fooled = sum(any(misread(s) for s in g) for g in trials.values())
        if fooled:
            text += f"; {fooled} of them {'was' if fooled == 1 else 'were'} scored anyway"
        return f"{text}."
    if by_status.get("unwatched", 0) == total:
        return f"No {noun} was watched."
    if any(s.state == "running" for g in trials.values() for s in g):
        return f"No {noun} has gone bad so far."
    return f"No {noun} went bad."


def _notes(
    trials: dict[tuple[str, str], list[Session]],
    by_status: dict[str, int],
) -> list[str]:
    """Returns what else happened, a sentence each: what runs, failed, was not watched."""
    notes = []
    running = sum(any(s.state == "running" for s in g) for g in trials.values())
    if running:
        notes.append(f"{running} {'is' if running == 1 else 'are'} still running.")
    contained = by_status.get("contained", 0)
    if contained:
        notes.append(
            f"{contained} had non-finite values that reached neither the loss nor "
            "anything that lasts."
        )
    scalars = sum(any(s.scalars for s in g) for g in trials.values())
    if scalars:
        notes.append(
            f"In {scalars} of the trials without NaN Watch, a logged scalar was NaN or "
            "infinite."
        )
    notes.append(failures_text(trials.values()))
    quiet = [
        g for g in trials.values() if worst(g) == "unwatched" and not any(map(failure, g))
    ]
    if quiet and by_status.get("unwatched", 0) != len(trials):
        notes.append(f"{len(quiet)} ended without being watched.")
    notes.append(reasons_text(quiet))
    return [note for note in notes if note]


def _search_space(sessions: list[Session]) -> list[SpaceHParam]:
    space: dict[str, SpaceHParam] = {}
    for session in sessions:
        for h in session.status.hparams:
            if _is_bookkeeping(h.name, session):
                continue
            known = space.get(h.name)
            if known is None:
                space[h.name] = SpaceHParam(
                    **{f.name: getattr(h, f.name) for f in fields(SpaceHParam)}
                )
            elif h.active and not known.active:
                space[h.name] = replace(known, active=True)
    return list(space.values())


# --- Parts ------------------------------------------------------------------------


def _is_bookkeeping(name: str, session: Session) -> bool:
    # Hyperband's own values among the hyperparameters; nobody chose them.
    return name.startswith("tuner/") and session.status.search is not None


def _origin(
    origin: schema.BadTensor | None, found: schema.PostMortem | None
) -> Origin | None:
    if origin is None:
        return None
    # The operation and its line come with the post-mortem; null where it was not made.
    op, source = (found.op, found.source) if found is not None else (None, None)
    return Origin(
        **vars(origin),
        op=f"gradient of {op}" if op and found and found.gradient else op,
        source=f"{source.file}:{source.line}" if source is not None else None,
    )


def _closest_call(session: Session) -> ToldCall | None:
    """Returns how near a run that stayed finite came to an overflow, if it did."""
    status = session.status
    if status.status != "clean":
        return None
    call = closest_call(status.closest, status.closest_in)
    if call is None:
        return None
    return ToldCall(**vars(call), text=closest_text(call))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
