# SPDX-License-Identifier: Apache-2.0
"""All sessions of a log directory at one time, put together from the newest records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tb_nanwatch.reading.log import unwatched
from tb_nanwatch.reading.log.grouping import decide, gather
from tb_nanwatch.reading.log.records import Listing, Loaded
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record import metadata, schema
from tb_nanwatch.record.schema import (
    ConfirmationRecord,
    FrontierRecord,
    HeartbeatRecord,
    PostMortemRecord,
    StatusRecord,
    TrialRecord,
)
from tb_nanwatch.wording import damage_text as words

# A run without a heartbeat for this many intervals is taken for dead.
MISSED_HEARTBEATS: Final = 3

# A session's run and id.
_Key = tuple[str, str]
_OfSearch = TypeVar("_OfSearch", FrontierRecord, ConfirmationRecord)


@dataclass
class Snapshot:
    """All sessions at one time; the same object as long as nothing changed.

    Attributes:
        sessions: in order of their start.
        warnings: what could not be read, a sentence each, naming the run.
        expires: when a running session's heartbeat becomes overdue, so that the
            snapshot says something else without any new record.
        frontiers: what stability searches found last, by the search's id.
        confirmations: what short trials made of a search's hint last, by its id.
    """

    sessions: list[Session]
    warnings: list[str]
    expires: float = math.inf
    frontiers: dict[str, FrontierRecord] = field(default_factory=dict)
    confirmations: dict[str, ConfirmationRecord] = field(default_factory=dict)

    def find(self, run: str, session_id: str) -> Session | None:
        """Returns the session with this key, or None."""
        for session in self.sessions:
            if session.run == run and session.id == session_id:
                return session
        return None


def snapshot_of(
    loaded: Mapping[tuple[str, str], Loaded],
    others: Listing,
    trainings: Sequence[unwatched.LoggedTraining],
    now: float,
) -> Snapshot:
    """Returns the snapshot that the newest records make up.

    Args:
        loaded: the newest status, trial, heartbeat, frontier, confirmation and post-mortem
            records, by run and tag.
        others: the time series of what is read on demand.
        trainings: what NaN Watch did not watch.
        now: seconds since the epoch, for the heartbeats.
    """
    parts = _Parts()
    for (run, tag_name), entry in loaded.items():
        parts.add(run, tag_name, entry)
    parts.add_verdicts()
    parts.add_postmortems()
    parts.note_unheard(others)
    for t in trainings:
        version = f"{t.status.updated}/{t.status.state}"
        parts.sessions[(t.run, t.id)] = Session(
            t.run, t.id, t.status, scalars=t.scalars, version=version
        )
    expires = parts.set_states(now)
    ordered = sorted(
        parts.sessions.values(), key=lambda s: (s.status.started, s.run, s.id)
    )
    decide(ordered)
    gather(ordered)
    return Snapshot(
        ordered, sorted(parts.warnings), expires, parts.frontiers, parts.confirmations
    )


@dataclass
class _Parts:
    """The parts of a snapshot while it is put together, by the session's key."""

    sessions: dict[_Key, Session] = field(default_factory=dict)
    verdicts: dict[_Key, Loaded] = field(default_factory=dict)
    postmortems: dict[_Key, Loaded] = field(default_factory=dict)
    beats: dict[_Key, HeartbeatRecord] = field(default_factory=dict)
    frontiers: dict[str, FrontierRecord] = field(default_factory=dict)
    confirmations: dict[str, ConfirmationRecord] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unreadable: set[_Key] = field(default_factory=set)

    def add(self, run: str, tag_name: str, entry: Loaded) -> None:
        """Takes in the newest record of a tag."""
        tag = metadata.parse_tag(tag_name)
        assert tag is not None
        key = (run, tag.session_id)
        record = entry.record
        if record is None:
            self.unreadable.add(key)
            self.warnings.append(words.unreadable_run_text(run, tag.kind, entry.problem))
        elif isinstance(record, TrialRecord):
            self.verdicts[key] = entry
        elif isinstance(record, HeartbeatRecord):
            self.beats[key] = record
        elif isinstance(record, FrontierRecord):
            _keep_newest(self.frontiers, record)
        elif isinstance(record, ConfirmationRecord):
            _keep_newest(self.confirmations, record)
        elif isinstance(record, PostMortemRecord):
            self.postmortems[key] = entry
        else:
            session = Session(run, tag.session_id, record, version=entry.version)
            self.sessions[key] = session
            if entry.problem:
                session.damage.append(words.older_status_text(entry.problem))

    def add_verdicts(self) -> None:
        """Adds KerasTuner's verdicts to sessions; makes a session for each trial without one."""
        searches = {s.search_id: s.status.search for s in self.sessions.values()}
        for key, verdict in self.verdicts.items():
            if key not in self.sessions and key not in self.unreadable:
                status = _status_without_training(verdict, key[0], searches)
                self.sessions[key] = Session(*key, status, version=verdict.version)
            if key in self.sessions:
                self.sessions[key].trial = verdict.record

    def add_postmortems(self) -> None:
        """Adds the post-mortems of failing steps to their sessions."""
        for key, entry in self.postmortems.items():
            if key in self.sessions:
                self.sessions[key].postmortem = entry.record.result
                self.sessions[key].version += f"/{entry.version}"

    def note_unheard(self, others: Listing) -> None:
        """Warns of each session that has records and no status."""
        for run, tags in others.items():
            for tag_name in tags:
                tag = metadata.parse_tag(tag_name)
                if tag is None:
                    continue
                key = (run, tag.session_id)
                if key in self.sessions or key in self.unreadable:
                    continue
                self.unreadable.add(key)
                self.warnings.append(words.no_status_text(run, tag.session_id))

    def set_states(self, now: float) -> float:
        """Sets each session's state, and returns when a running session may have to be called dead.

        Args:
            now: seconds since the epoch.
        """
        expires = math.inf
        for key, session in self.sessions.items():
            session.state = session.status.state
            if session.state == "running":
                deadline = _deadline(session.status)
                if key in self.beats:
                    deadline = max(deadline, _deadline(self.beats[key]))
                if now >= deadline:
                    session.state = "interrupted"
                    session.damage.append(words.NO_END)
                else:
                    expires = min(expires, deadline)
            _if_nothing_was_seen(session)
        return expires


def _keep_newest(found: dict[str, _OfSearch], record: _OfSearch) -> None:
    known = found.get(record.search_id)
    if known is None or record.written_at > known.written_at:
        found[record.search_id] = record


def _if_nothing_was_seen(session: Session) -> None:
    """Calls a session that has ended before its first step "unwatched", not "clean"."""
    status = session.status
    if session.state != "running" and status.status == "clean" and status.steps == 0:
        session.status = dataclasses.replace(status, status="unwatched")


def _deadline(status: StatusRecord | HeartbeatRecord) -> float:
    """Returns the time at which a running session without later news counts as dead."""
    heartbeat = status.heartbeat
    if not (math.isfinite(heartbeat) and heartbeat > 0):
        heartbeat = 60.0
    updated = status.updated if math.isfinite(status.updated) else 0.0
    return updated + MISSED_HEARTBEATS * heartbeat


def _on_demand(session: Session) -> Iterator[tuple[str, int]]:
    """Yields, for each kind that is read on demand, how many records the status says were written."""
    for kind, written in session.status.written.items():
        if metadata.PLUGIN_OF_KIND.get(kind) == metadata.PLUGIN_NAME and written > 0:
            yield kind, written


def count_records(sessions: Iterable[Session], others: Listing) -> None:
    """Sets how many records of each session were written, and were loaded so far."""
    loaded: dict[tuple[str, str], int] = {}
    for run, tags in others.items():
        for name, series in tags.items():
            tag = metadata.parse_tag(name)
            assert tag is not None
            key = (run, tag.session_id)
            loaded[key] = loaded.get(key, 0) + series.max_step + 1
    for session in sessions:
        session.read = loaded.get((session.run, session.id), 0)
        session.written = sum(written for _, written in _on_demand(session))


def short_of(sessions: Iterable[Session], others: Listing) -> list[tuple[Session, str]]:
    """Returns the sessions that lack records that their status says were written."""
    short = []
    for session in sessions:
        tags = others.get(session.run, {})
        for kind, written in _on_demand(session):
            series = tags.get(metadata.make_tag(session.id, kind))
            found = 0 if series is None else series.max_step + 1
            if found < written:
                text = words.last_missing_text(written - found, written, kind)
                short.append((session, text))
    return short


def _status_without_training(
    loaded: Loaded, run: str, searches: Mapping[str, schema.Search | None]
) -> StatusRecord:
    """Returns a status for a trial that ended before any training was watched."""
    verdict: TrialRecord = loaded.record
    search = searches.get(verdict.search_id) or schema.Search(id=verdict.search_id)
    return StatusRecord(
        session_id=verdict.session_id,
        seq=verdict.seq,
        run=run,
        search=search,
        trial_id=verdict.trial_id,
        status="unwatched",
        state="failed",
        error_message=verdict.message,
        started=loaded.wall_time,
        updated=loaded.wall_time,
    )
