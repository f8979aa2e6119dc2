"""The report: what `tb-nanwatch report --json` prints and the tab's overview shows.

`overview` builds everything but the lanes, `report` is the part of it that is
promised to users. Both are plain dicts of JSON values; non-finite numbers are the
strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tb_nanwatch.diagnosis.answer import answer_of, clean_text, label_of
from tb_nanwatch.diagnosis.closest import closest_call
from tb_nanwatch.diagnosis.ranking import Cause, closest_text, diagnose, facts_of
from tb_nanwatch.reading.log.grouping import trials_of, worst
from tb_nanwatch.reading.log.reader import Snapshot
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.unwatched import bad_scalar_text
from tb_nanwatch.reading.report import reproduction
from tb_nanwatch.reading.search import aborted, frontiers
from tb_nanwatch.reading.search.analysis import Analysis, Finding
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
from tb_nanwatch.record.strict_json import json_safe
from tb_nanwatch.wording.row_values import without_values

REPORT_VERSION: Final = 1
SEARCH_KEYS: Final = (
    "search",
    "tuner",
    "objective",
    "trials",
    "by_status",
    "aborted",
    "cost",
    "verdict",
    "answer",
    "purpose",
    "frontier",
    "afterwards",
)
RUN_KEYS: Final = (
    "run",
    "search",
    "trial_id",
    "number",
    "execution",
    "fit",
    "retry",
    "worker",
    "state",
    "stopped_by",
    "status",
    "tuner_status",
    "score",
    "best_step",
    "message",
    "failure",
    "unwatched_text",
    "misread",
    "misread_text",
    "lineage",
    "inherited",
    "closest_call",
    "loss_scale",
    "skipped_steps",
    "scalars",
    "hparams",
    "onset",
    "origin",
    "contained",
    "postmortem",
    "reproduction",
    "causes",
    "answer",
)
ORIGIN_KEYS: Final = (
    "kind",
    "name",
    "num_nan",
    "num_pos_inf",
    "num_neg_inf",
    "op",
    "source",
)

CAUSE_KEYS: Final = ("id", "sure", "record", "confidence", "evidence", "fix")

CausesByRun = Mapping[tuple[str, str], Sequence[Cause]]


def overview(
    snapshot: Snapshot, causes: CausesByRun | None = None, with_data: bool = True
) -> dict[str, Any]:
    """Returns the overview of http_api.md, without the runs' lanes.

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
    searches = [
        _search_entry(key, group, known, with_data) for key, group in by_search.items()
    ]
    _add_frontiers(searches, by_search, snapshot)
    searches.sort(key=lambda s: (s["search"] != "", s["started"]), reverse=True)
    runs = [
        run_entry(session, known.get((session.run, session.id)), with_data)
        for search in searches
        for session in by_search[search["search"]]
    ]
    for run, attempt in zip(runs, attempts(runs), strict=True):
        run["attempt"] = attempt
    findings = _compare(searches, by_search, known)
    safe: dict[str, Any] = json_safe(
        {
            "schema_version": REPORT_VERSION,
            "searches": searches,
            "runs": runs,
            "findings": findings,
            "warnings": snapshot.warnings,
            "with_data": with_data,
        }
    )
    return safe


def report(full: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of an overview that `report --json` prints."""
    runs = []
    for run in full["runs"]:
        entry = {key: run[key] for key in RUN_KEYS}
        entry["causes"] = [{key: c[key] for key in CAUSE_KEYS} for c in run["causes"]]
        if entry["origin"] is not None:
            entry["origin"] = {key: entry["origin"][key] for key in ORIGIN_KEYS}
        runs.append(entry)
    return {
        "schema_version": full["schema_version"],
        "searches": [{k: s[k] for k in SEARCH_KEYS} for s in full["searches"]],
        "runs": runs,
        "findings": full["findings"],
        "with_data": full["with_data"],
    }


def run_entry(
    session: Session, causes: Sequence[Cause] | None = None, with_data: bool = True
) -> dict[str, Any]:
    """Returns one run of the overview, without its lane.

    Args:
        session: the run's.
        causes: from its full records; those of the status record alone where None.
        with_data: whether values of single rows of data are told.
    """
    facts = facts_of(session.status, session.began_with, session.postmortem, with_data)
    if causes is None:
        causes = diagnose(facts)
    status, trial = session.status, session.trial
    hparams = [h for h in status.hparams if not _is_bookkeeping(h.name, session)]
    return {
        "run": session.run,
        "name": session.name,
        "session": session.id,
        "search": session.search_id,
        "trial_id": status.trial_id,
        "number": status.number,
        "execution": status.execution,
        "fit": status.fit,
        "retry": session.retry,
        "superseded": session.superseded,
        "worker": status.worker,
        "state": session.state,
        "stopped_by": status.stopped_by,
        "status": status.status,
        "tuner_status": trial.tuner_status if trial else None,
        "score": session.score if _is_scored(session) else None,
        "best_step": session.best_epoch,
        "message": trial.message if trial else None,
        "failure": failure(session),
        "failure_text": failure_text(session),
        "unwatched_text": unwatched_text(session),
        "misread": misread(session),
        "misread_text": misread_text(session),
        "hparams": {h.name: h.value for h in hparams if h.active},
        "inactive": [h.name for h in hparams if not h.active],
        "onset": status.onset,
        "origin": _origin(status.origin, session.postmortem),
        "contained": status.contained,
        "postmortem": session.postmortem
        if with_data
        else without_values(session.postmortem),
        "reproduction": reproduction.script(session),
        "causes": [_cause(c, session.postmortem) for c in causes],
        "answer": answer_of(facts, causes, status.steps_after_onset),
        "clean_text": clean_text(facts),
        "started": status.started,
        "updated": status.updated,
        "steps": status.steps,
        "epochs": status.epochs,
        "epochs_planned": status.epochs_planned,
        "steps_after_onset": status.steps_after_onset,
        "seconds_after_onset": status.seconds_after_onset,
        "recovered": status.recovered,
        "num_episodes": status.num_episodes,
        "closest": status.closest,
        "closest_call": _closest_call(session),
        **_loss_scaling(status),
        "lineage": status.lineage,
        "inherited": session.inherited,
        "scalars": [
            {**dataclasses.asdict(s), "text": bad_scalar_text(s)} for s in session.scalars
        ],
        "objective": None,
        "error_type": status.error_type,
        "error_message": status.error_message,
        "damage": session.damage,
        "records": {"read": session.read, "written": session.written},
    }


def _cause(cause: Cause, found: schema.PostMortem | None) -> dict[str, Any]:
    told = {key: getattr(cause, key) for key in CAUSE_KEYS}
    return {**told, "label": label_of(cause.id, found)}


def _loss_scaling(status: schema.StatusRecord) -> dict[str, Any]:
    """Returns the run's last loss scale and its skipped steps, None where none is scaled."""
    scaled = len(status.lane_loss_scale) > 0
    return {
        "loss_scale": float(status.lane_loss_scale[-1]) if scaled else None,
        "skipped_steps": int(status.lane_skipped.sum()) if scaled else None,
    }


def _compare(
    searches: list[dict[str, Any]],
    by_search: dict[str, list[Session]],
    causes: CausesByRun,
) -> list[Finding]:
    """Returns the findings of all searches; adds verdicts and rates to `searches`."""
    findings: list[Finding] = []
    for search in searches:
        sessions = by_search[search["search"]]
        if search["purpose"] == "stability":
            # Its trials were chosen for lying where the frontier is: their shares say
            # nothing, and the frontier says it all.
            search["rates"] = []
            search["first"] = frontiers.first_screen(search, search.pop("notes"))
            continue
        found = _compared(search, sessions, causes)
        trials = trials_of(sessions).values()
        names = [
            name_of(s) for s in (next(filter(misread, g), None) for g in trials) if s
        ]
        search["first"] = first_screen(
            search, found.findings, found.verdict, search.pop("notes"), names
        )
        search["verdict"] = f"{search['verdict']} {found.verdict}".strip()
        search["rates"] = found.rates
        findings += found.findings
    return findings


def _compared(
    search: dict[str, Any], sessions: list[Session], causes: CausesByRun
) -> Analysis:
    if not search["search"]:
        return Analysis()
    return compare(search["search"], sessions, search["direction"], causes)


# --- Searches ---------------------------------------------------------------------


def _search_entry(
    search_id: str, sessions: list[Session], causes: CausesByRun, with_data: bool
) -> dict[str, Any]:
    trials = trials_of(sessions)
    by_status: dict[str, int] = {}
    for group in trials.values():
        status = worst(group)
        by_status[status] = by_status.get(status, 0) + 1
    by_status = {s: by_status[s] for s in STATUSES if s in by_status}
    # Any session's copy will do, but one that a callback wrote knows most.
    search = max(
        (s.search for s in sessions if s.search),
        key=lambda s: bool(s.tuner),
        default=None,
    )
    abort = aborted.explain(search, sessions, causes)
    notes = _notes(trials, by_status)
    started = search.started if search and search.started else None
    counted = _verdict(_facts(search_id, trials, by_status), notes, abort)
    return {
        "search": search_id,
        "name": search.name if search else "",
        "tuner": search.tuner if search else "",
        "objective": search.objective if search else None,
        "direction": search.direction if search else None,
        "started": _finite(
            started if started is not None else max(s.status.started for s in sessions)
        ),
        "trials": len(trials),
        "by_status": by_status,
        "aborted": abort,
        "cost": cost(sessions),
        "counted": counted,
        "verdict": counted,
        "notes": notes,
        "answer": search_answer(list(trials.values()), causes, with_data),
        "hparams": _search_space(sessions),
        "purpose": search.purpose if search else "search",
        "frontier": None,
        "afterwards": "",
    }


def _add_frontiers(
    searches: list[dict[str, Any]],
    by_search: dict[str, list[Session]],
    snapshot: Snapshot,
) -> None:
    """Adds to each search the frontier that it found, or what came of the last one's."""
    for search in searches:
        record = snapshot.frontiers.get(search["search"])
        search["frontier"] = frontiers.entry(record)
        if search["purpose"] == "stability":
            search["answer"] = None  # its trials went bad on purpose
            continue
        before = [
            r for r in snapshot.frontiers.values() if r.written_at <= search["started"]
        ]
        if before:
            last = max(before, key=lambda r: r.written_at)
            search["afterwards"] = frontiers.afterwards(last, by_search[search["search"]])


def _is_scored(session: Session) -> bool:
    # A stability search's objective is whether a trial went bad.
    search = session.search
    return search is None or search.purpose != "stability"


def _verdict(facts: str, notes: Sequence[str], abort: dict[str, Any] | None) -> str:
    """Returns one sentence or two, made of facts alone."""
    ended = ""
    if abort:
        interrupted = aborted.was_interrupted(abort["message"])
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


def _search_space(sessions: list[Session]) -> list[dict[str, Any]]:
    space: dict[str, dict[str, Any]] = {}
    for session in sessions:
        for hparam in session.status.hparams:
            if _is_bookkeeping(hparam.name, session):
                continue
            known = space.get(hparam.name)
            if known is None:
                known = space[hparam.name] = dataclasses.asdict(hparam)
                del known["value"], known["declared"]
            known["active"] = known["active"] or hparam.active
    return list(space.values())


# --- Parts ------------------------------------------------------------------------


def _is_bookkeeping(name: str, session: Session) -> bool:
    # Hyperband's own values among the hyperparameters; nobody chose them.
    return name.startswith("tuner/") and session.status.search is not None


def _origin(
    origin: schema.BadTensor | None, found: schema.PostMortem | None
) -> dict[str, Any] | None:
    if origin is None:
        return None
    # The operation and its line come with the post-mortem; null where it was not made.
    op, source = (found.op, found.source) if found is not None else (None, None)
    return {
        **dataclasses.asdict(origin),
        "op": f"gradient of {op}" if op and found and found.gradient else op,
        "source": f"{source.file}:{source.line}" if source is not None else None,
    }


def _closest_call(session: Session) -> dict[str, Any] | None:
    """Returns how near a run that stayed finite came to an overflow, if it did."""
    status = session.status
    if status.status != "clean":
        return None
    call = closest_call(status.closest, status.closest_in)
    if call is None:
        return None
    return {**dataclasses.asdict(call), "text": closest_text(call)}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
