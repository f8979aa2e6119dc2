# SPDX-License-Identifier: Apache-2.0
"""Two runs or two searches: found in snapshots, read, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tb_nanwatch.errors import NanWatchError
from tb_nanwatch.reading.comparison.before_after import Half, before_after, space_of
from tb_nanwatch.reading.comparison.differences import ComparedRun, differences_of
from tb_nanwatch.reading.comparison.nearest import expected_text, listing
from tb_nanwatch.reading.contract.comparisons import RunComparison, SearchComparison
from tb_nanwatch.reading.contract.searches import SearchSummary
from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.reader import NotFoundError, Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report import run_entry
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.search.outcomes import trials_to_compare
from tb_nanwatch.record import metadata
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.trial_names import trial_name

_KINDS: Final = (metadata.KIND_SESSION, metadata.KIND_RANGES)


class CannotCompareError(NanWatchError):
    """The things to compare were not found, or a run was to be compared with a search."""


@dataclass(frozen=True)
class ComparedLog:
    """The log from which one side of a comparison is read.

    Attributes:
        reader, ctx, experiment_id: as of the reader.
        causes: diagnoses its runs.
        where: what the place is called in sentences, "" where both are in one.
    """

    reader: Reader
    ctx: Any
    experiment_id: str
    causes: Causes
    where: str = ""

    def snapshot(self) -> Snapshot:
        """Returns all sessions there."""
        return self.reader.snapshot(self.ctx, self.experiment_id)


# --- Two runs -------------------------------------------------------------------------


def runs(
    first: tuple[ComparedLog, Session], second: tuple[ComparedLog, Session]
) -> RunComparison:
    """Returns the differences between two runs."""
    runs_of = [first[1].run, second[1].run]
    if runs_of[0] == runs_of[1] and first[0] is second[0]:
        runs_of = [f"{_project(s)}:{s.run}" for _, s in (first, second)]
    names = _labels(
        (first[0], runs_of[0]), (second[0], runs_of[1]), ("the first", "the second")
    )
    trainings = [_training(*first, names[0]), _training(*second, names[1])]
    found = differences_of(*trainings)
    entries = [
        run_entry.run_entry(session, training.causes)
        for (_, session), training in zip((first, second), trainings, strict=True)
    ]
    return RunComparison(
        runs=entries,
        names=list(names),
        verdict=found.verdict,
        differences=found.differences,
        parting=found.parting,
        alike=found.alike,
        notes=found.notes,
    )


def _training(place: ComparedLog, session: Session, name: str) -> ComparedRun:
    detail = place.reader.detail(place.ctx, place.experiment_id, session, _KINDS)
    sessions = detail.records[metadata.KIND_SESSION]
    causes = place.causes.of(place.ctx, place.experiment_id, [session])
    return ComparedRun(
        name,
        session.status,
        sessions[-1] if sessions else None,
        detail.records[metadata.KIND_RANGES],
        causes.get((session.run, session.id), ()),
    )


def _labels(
    first: tuple[ComparedLog, str],
    second: tuple[ComparedLog, str],
    otherwise: tuple[str, str],
) -> tuple[str, str]:
    """Returns names for both: their own, with the log's place where these are equal or missing."""
    one, other = first[1], second[1]
    if one != other and one != "." and other != ".":
        return one, other
    one, other = (
        "/".join(part for part in (place.where, name) if part not in ("", "."))
        for place, name in (first, second)
    )
    return (one, other) if one and other and one != other else otherwise


# --- Two searches ---------------------------------------------------------------------


def searches(
    first: tuple[ComparedLog, str], second: tuple[ComparedLog, str]
) -> SearchComparison:
    """Returns how a search changed after its space was edited.

    Args:
        first, second: where each is, and its id.

    Raises:
        NotFoundError: there is no such search.
    """
    halves = [_half(*first), _half(*second)]
    names = _labels(
        (first[0], halves[0][0].name),
        (second[0], halves[1][0].name),
        ("the first search", "the second search"),
    )
    found = before_after(
        *(replace(h, name=n) for n, (h, _) in zip(names, halves, strict=True))
    )
    return SearchComparison(
        searches=[entry for _, entry in halves],
        names=list(names),
        verdict=found.verdict,
        shares=found.shares,
        p_value=found.p_value,
        changes=found.changes,
        removed=found.removed,
        best_scores=found.best_scores,
    )


def _half(place: ComparedLog, search_id: str) -> tuple[Half, SearchSummary]:
    snapshot = place.snapshot()
    sessions = [s for s in snapshot.sessions if s.search_id == search_id]
    if not search_id or not sessions:
        raise NotFoundError(
            f"no search {search_id!r:.200}; expected a search that the overview lists"
        )
    causes = place.causes.of(place.ctx, place.experiment_id, sessions)
    full = overview(Snapshot(sessions, []), causes)
    (entry,) = full.searches
    half = Half(
        entry.name or entry.search,
        trials_to_compare(sessions, causes),
        space_of([h for s in sessions for h in s.status.hparams]),
        entry.direction,
        entry.objective,
    )
    return half, entry


# --- By name --------------------------------------------------------------------------


def named(
    first: tuple[ComparedLog, str | None], second: tuple[ComparedLog, str | None]
) -> RunComparison | SearchComparison:
    """Returns the comparison of two things by their names.

    Args:
        first, second: where each is, and its name: of a run or a trial, with
            "SEARCH:" before it where several searches have it, or of a search (its id,
            or its project's name: the newest one, and of one name given twice the two
            newest). None for the only run, or the only search, that is there.

    Raises:
        CannotCompareError: there is no such thing, or a run stands against a search.
    """
    found = _both(first, second)
    if first[0] is second[0] and first[1] == second[1] and first[1] is not None:
        again = _searches_of(_newest_first(first[0]), first[1])
        if found[0].session is None and len(again) > 1:
            found[0] = _Found(None, again[1])  # before and after
    chosen = [_as_asked(found[0], found[1]), _as_asked(found[1], found[0])]
    a, b = chosen
    if isinstance(a, Session) and isinstance(b, Session):
        if (first[0] is second[0]) and (a.run, a.id) == (b.run, b.id):
            raise CannotCompareError(f"{a.run!r} was given twice; expected two runs")
        return runs((first[0], a), (second[0], b))
    if isinstance(a, str) and isinstance(b, str):
        if (first[0] is second[0]) and a == b:
            raise CannotCompareError(
                f"search {a!r} was given twice; expected two searches"
            )
        return searches((first[0], a), (second[0], b))
    raise CannotCompareError(
        "a run cannot be compared with a search; name a trial of the search instead: "
        "tb-nanwatch compare LOGDIR RUN RUN"
    )


def _both(
    first: tuple[ComparedLog, str | None], second: tuple[ComparedLog, str | None]
) -> list[_Found]:
    """Returns what two names stand for; an error tells of both where neither exists."""
    found, wrong = [], []
    for place, name in (first, second):
        try:
            found.append(_find(place, name))
        except CannotCompareError as e:
            wrong.append(str(e))
    if wrong:
        # Of one name that was given twice, or of one log without records, it is said once.
        raise CannotCompareError(". And ".join(dict.fromkeys(wrong)))
    return found


def newest(place: ComparedLog) -> SearchComparison:
    """Returns the newest search beside the older one of the same project.

    Raises:
        CannotCompareError: there is no search, or no older one.
    """
    found = [s for s in _newest_first(place) if s.search_id]
    if not found:
        raise CannotCompareError(
            "there is no search to compare; name two runs: tb-nanwatch compare LOGDIR RUN "
            "RUN"
        )
    name = _project(found[0])
    alike = [s for s in found if _project(s) == name]
    ids = list(dict.fromkeys(s.search_id for s in alike))
    if len(ids) < 2:
        raise CannotCompareError(
            f"there is no older search of {name!r} to compare it with; search again with "
            "the edited space, or name another one: tb-nanwatch compare LOGDIR SEARCH "
            "SEARCH"
        )
    return searches((place, ids[1]), (place, ids[0]))


@dataclass(frozen=True)
class _Found:
    """The run, the search, or both that a name stands for."""

    session: Session | None
    search_id: str | None


def _as_asked(found: _Found, other: _Found) -> Session | str:
    """Returns the run, unless only searches make a pair."""
    if found.session is not None and (other.session is not None or not found.search_id):
        return found.session
    if found.search_id is not None:
        return found.search_id
    assert found.session is not None
    return found.session


def _newest_first(place: ComparedLog) -> list[Session]:
    sessions = [s for s in place.snapshot().sessions if not s.superseded]
    return sorted(sessions, key=_started, reverse=True)


def _find(place: ComparedLog, name: str | None) -> _Found:
    newest_first = _newest_first(place)
    where = repr(place.where) if place.where else "the log directory"
    if not newest_first:
        raise CannotCompareError(
            f"no NaN Watch records in {where}; expected the directory that "
            "NanWatch(...) was given, one above it, or that of one run"
        )
    ids = list(dict.fromkeys(s.search_id for s in newest_first if s.search_id))
    if name is None:
        only = newest_first[0] if len(newest_first) == 1 else None
        loose = [s for s in newest_first if not s.search_id]
        if only is not None or (len(ids) == 1 and not loose):
            return _Found(only, ids[0] if ids else None)
        raise CannotCompareError(
            f"{where} holds {counted(len(ids), 'search', 'es')} and "
            f"{counted(len(loose), 'run')} without a search; expected one run or one "
            f"search. Name two of them: tb-nanwatch compare LOGDIR NAME NAME, with names "
            f"out of {listing(_names(newest_first))}"
        )
    whole = _run_of(newest_first, name)
    if whole is not None:
        return _Found(whole, None)
    searches_named = _searches_of(newest_first, name)
    if searches_named:
        return _Found(None, searches_named[0])
    search, colon, run = name.rpartition(":")
    for search_id in _searches_of(newest_first, search) if colon else []:
        one = _run_of([s for s in newest_first if s.search_id == search_id], run)
        if one is not None:
            return _Found(one, None)
    known = _names(newest_first)
    if colon and _searches_of(newest_first, search):
        of_it = [s for s in newest_first if search in (s.search_id, _project(s))]
        known = [f"{search}:{s.run}" for s in of_it]
    raise CannotCompareError(
        f"no run, trial or search {name!r:.200} in {where}; {expected_text(name, known)}"
    )


def _run_of(newest_first: Sequence[Session], name: str) -> Session | None:
    """Returns the run or trial of this name; the newest, where a search was run several times.

    Raises:
        CannotCompareError: searches of several projects have it.
    """
    for group in (
        [s for s in newest_first if s.run == name],
        [s for s in newest_first if s.status.trial_id == name],
        [s for s in newest_first if name.casefold() in _shown(s)],
    ):
        projects: dict[str, str] = {}  # the newest id of each
        for s in group:
            projects.setdefault(_project(s), s.search_id)
        if len(projects) > 1:
            known = [project or search_id for project, search_id in projects.items()]
            ways = [f"{search}:{name}" for search in known if search]
            raise CannotCompareError(
                f"{name!r:.200} is a run of {len(projects)} searches; expected one of "
                f"{listing(ways)}"
            )
        if group:
            return group[0]
    return None


def _shown(session: Session) -> tuple[str, ...]:
    """Returns the forms in which people have seen a trial's name: "trial #3", "#3"."""
    status = session.status
    if status.trial_id is None:
        return ()
    name = trial_name(status.trial_id, status.number).casefold()
    return name, name.removeprefix("trial ")


def _project(session: Session) -> str:
    return session.search.name if session.search else ""


def _searches_of(newest_first: Sequence[Session], name: str) -> list[str]:
    """Returns the ids of the searches of this id or project's name, newest first."""
    return list(
        dict.fromkeys(
            s.search_id
            for s in newest_first
            if s.search_id and name in (s.search_id, _project(s))
        )
    )


def _started(session: Session) -> tuple[float, float]:
    search = session.search
    return (search.started if search else 0.0, session.status.started)


def _names(sessions: Sequence[Session]) -> list[str]:
    names = [s.search.name for s in sessions if s.search]
    names += [s.run for s in sessions]
    trials = [s.status for s in sessions if s.status.trial_id is not None]
    names += [trial_name(s.trial_id, s.number) for s in trials]
    return list(dict.fromkeys(n for n in names if n))
