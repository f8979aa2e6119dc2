"""The only user of TensorBoard's DataProvider.

Finds the sessions under a log directory, decodes their records, and says what is
damaged or missing. The overview needs the small status records alone, and reads
again only those that changed; everything else is read for one run, on demand.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from tensorboard import errors as tb_errors
from tensorboard.data import provider as tb_provider
from tensorboard.util import tb_logging

from tb_nanwatch.errors import RecordError
from tb_nanwatch.reading.log import unwatched
from tb_nanwatch.reading.log.by_hand import gather
from tb_nanwatch.reading.log.grouping import decide
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.unwatched import BadScalar
from tb_nanwatch.record import codec, metadata, schema
from tb_nanwatch.record.schema import (
    FrontierRecord,
    HeartbeatRecord,
    PostMortemRecord,
    StatusRecord,
    TrialRecord,
)

logger = tb_logging.get_logger()

# The provider keeps this many records of a tag: more than any tag can hold, so that
# nothing is dropped here whatever the loader kept.
KEEP_ALL: Final = 2**31 - 1
# A run without a heartbeat for this many intervals is taken for dead.
MISSED_HEARTBEATS: Final = 3
# TensorBoard reloads the log directory every 5 seconds at best; asking more often
# than this would tell nothing new, and each call to the data server stalls 45 ms.
MAX_AGE: Final = 1.0
# Whoever opens a run came from an overview, and asks for no newer list of all runs: that
# would cost a call more to the data server before the first of the run's own.
FIND_AGE: Final = 60.0
# Runs read in one call to the provider: a gRPC message holds 256 MB, and a status
# record with its lane is some 20 kB.
_RUNS_PER_CALL: Final = 1000
# Arrays of one session and kind that are held at a time: ten times those of a million
# steps of 4,000 probes. A damaged or hostile file can claim any size.
_MAX_DECODED_BYTES: Final = 1 << 30

Clock = Callable[[], float]


class NotFoundError(LookupError):
    """There is no such run, or no such session in it."""


@dataclass
class Snapshot:
    """All sessions at one time; the same object as long as nothing changed.

    Attributes:
        sessions: in order of their start.
        warnings: what could not be read, a sentence each, naming the run.
        expires: when a running session's heartbeat becomes overdue, so that the
            snapshot says something else without any new record.
        frontiers: what stability searches found last, by the search's id.
    """

    sessions: list[Session]
    warnings: list[str]
    expires: float = math.inf
    frontiers: dict[str, FrontierRecord] = field(default_factory=dict)

    def find(self, run: str, session_id: str) -> Session | None:
        """Returns the session with this key, or None."""
        for session in self.sessions:
            if session.run == run and session.id == session_id:
                return session
        return None


@dataclass
class Detail:
    """Records of one session, read on demand, each kind in order of `seq`."""

    records: dict[str, list[Any]]
    damage: list[str]


@dataclass
class _Loaded:
    """The newest readable record of one tag."""

    version: str
    record: Any = None
    problem: str | None = None
    wall_time: float = 0.0


@dataclass
class _Experiment:
    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: dict[tuple[str, str], _Loaded] = field(default_factory=dict)
    # What was not finite in a scalar of a run without NaN Watch, by run and tag, with
    # the version of the scalar that it was read from.
    scalars: dict[tuple[str, str], tuple[str, BadScalar | None]] = field(
        default_factory=dict
    )
    version: object = None
    snapshot: Snapshot | None = None
    checked: float = -math.inf


class Reader:
    """Reads NaN Watch's records through a data provider.

    Args:
        provider: a `tensorboard.data.provider.DataProvider`.
        clock: returns seconds since the epoch, for the heartbeat.
        max_age: seconds for which a snapshot is not checked again.
    """

    def __init__(
        self, provider: Any, *, clock: Clock = time.time, max_age: float = MAX_AGE
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._max_age = max_age
        self._lock = threading.Lock()
        self._experiments: dict[str, _Experiment] = {}
        self._pool: ThreadPoolExecutor | None = None

    # --- Overview --------------------------------------------------------------

    def snapshot(
        self, ctx: Any, experiment_id: str, *, max_age: float | None = None
    ) -> Snapshot:
        """Returns all sessions; the same object as before where nothing changed.

        Args:
            ctx: the `RequestContext`.
            experiment_id: TensorBoard's; "" for a local log directory.
            max_age: seconds for which the last answer serves again; the reader's own
                if None.
        """
        experiment = self._experiment(experiment_id)
        allowed = self._max_age if max_age is None else max_age
        with experiment.lock:
            age = time.monotonic() - experiment.checked
            old = experiment.snapshot
            valid = old is not None and self._clock() < old.expires
            if old is not None and valid and age < allowed:
                return old
            statuses, others, hparams = self._parallel(
                lambda: self._list(ctx, experiment_id, metadata.STATUS_PLUGIN_NAME),
                lambda: self._list(ctx, experiment_id, metadata.PLUGIN_NAME),
                lambda: self._list_hparams(ctx, experiment_id),
            )
            watched = {r for listing in (statuses, others) for r in listing if listing[r]}
            hparams = unwatched.only_hparams(hparams, watched)
            scalars = self._list_scalars(ctx, experiment_id, hparams)
            listings = (statuses, others, hparams, scalars)
            version = tuple(_fingerprint(listing) for listing in listings)
            experiment.checked = time.monotonic()
            if old is not None and valid and version == experiment.version:
                return old
            self._load_changed(ctx, experiment_id, experiment.loaded, statuses)
            self._load_scalars(ctx, experiment_id, experiment.scalars, scalars)
            bad = [(run, b) for (run, _), (_, b) in experiment.scalars.items() if b]
            trainings = [
                unwatched.training(run, tags, scalars, bad)
                for run, tags in hparams.items()
            ]
            snapshot = self._build(
                experiment.loaded, others, [t for t in trainings if t is not None]
            )
            if _short(snapshot.sessions, others):
                # The status may have arrived between the two listings.
                others = self._list(ctx, experiment_id, metadata.PLUGIN_NAME)
            for session, sentence in _short(snapshot.sessions, others):
                session.damage.append(sentence)
            _count_records(snapshot.sessions, others)
            experiment.snapshot, experiment.version = snapshot, version
            return snapshot

    def _experiment(self, experiment_id: str) -> _Experiment:
        with self._lock:
            if experiment_id not in self._experiments and len(self._experiments) >= 16:
                self._experiments.clear()  # ids are the client's: bound the memory
            return self._experiments.setdefault(experiment_id, _Experiment())

    def _load_changed(
        self,
        ctx: Any,
        experiment_id: str,
        loaded: dict[tuple[str, str], _Loaded],
        listing: dict[str, dict[str, Any]],
    ) -> None:
        versions = {
            (run, tag): _version(series)
            for run, tags in listing.items()
            for tag, series in tags.items()
        }
        for key in set(loaded) - set(versions):  # the run was deleted
            del loaded[key]
        changed = {
            key
            for key, version in versions.items()
            if key not in loaded or loaded[key].version != version
        }
        runs = sorted({run for run, _ in changed})
        chunks = [
            runs[i : i + _RUNS_PER_CALL] for i in range(0, len(runs), _RUNS_PER_CALL)
        ]

        def read(chunk: list[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
            names = set(chunk)
            tags = {tag for run, tag in changed if run in names}
            return self._read(
                ctx, experiment_id, metadata.STATUS_PLUGIN_NAME, chunk, tags
            )

        for data, failed in self._parallel(*[lambda c=c: read(c) for c in chunks]):
            for key in changed:
                run, tag = key
                if run in failed:
                    loaded[key] = _Loaded(versions[key], problem=failed[run])
                elif tag in data.get(run, {}):
                    loaded[key] = _newest(data[run][tag], tag, versions[key])

    def _build(
        self,
        loaded: dict[tuple[str, str], _Loaded],
        others: dict[str, dict[str, Any]],
        trainings: Sequence[unwatched.Training],
    ) -> Snapshot:
        sessions: dict[tuple[str, str], Session] = {}
        verdicts: dict[tuple[str, str], _Loaded] = {}
        postmortems: dict[tuple[str, str], _Loaded] = {}
        beats: dict[tuple[str, str], HeartbeatRecord] = {}
        frontiers: dict[str, FrontierRecord] = {}
        warnings: list[str] = []
        unreadable = set()
        for (run, tag_name), entry in loaded.items():
            tag = metadata.parse_tag(tag_name)
            assert tag is not None
            key = (run, tag.session_id)
            if entry.record is None:
                unreadable.add(key)
                warnings.append(
                    f"Run {run!r}: its {tag.kind} record cannot be read: {entry.problem}"
                )
            elif isinstance(entry.record, TrialRecord):
                verdicts[key] = entry
            elif isinstance(entry.record, HeartbeatRecord):
                beats[key] = entry.record
            elif isinstance(entry.record, FrontierRecord):
                found = frontiers.setdefault(entry.record.search_id, entry.record)
                if entry.record.written_at > found.written_at:
                    frontiers[entry.record.search_id] = entry.record
            elif isinstance(entry.record, PostMortemRecord):
                postmortems[key] = entry
            else:
                sessions[key] = Session(
                    run, tag.session_id, entry.record, version=entry.version
                )
                if entry.problem:
                    sessions[key].damage.append(
                        f"The newest status record cannot be read ({entry.problem}); "
                        "an older one is shown."
                    )
        searches = {s.search_id: s.status.search for s in sessions.values()}
        for key, verdict in verdicts.items():
            if key not in sessions and key not in unreadable:
                status = _status_without_training(verdict, key[0], searches)
                sessions[key] = Session(*key, status, version=verdict.version)
            if key in sessions:
                sessions[key].trial = verdict.record
        for key, entry in postmortems.items():
            if key in sessions:
                sessions[key].postmortem = entry.record.result
                sessions[key].version += f"/{entry.version}"
        for run, tags in others.items():
            for tag_name in tags:
                tag = metadata.parse_tag(tag_name)
                if tag and (run, tag.session_id) not in sessions.keys() | unreadable:
                    unreadable.add((run, tag.session_id))
                    warnings.append(
                        f"Run {run!r}: session {tag.session_id} has records but no "
                        "status record (its writer was stopped before the first one, "
                        "or the file is damaged); it is not shown."
                    )
        for t in trainings:
            version = f"{t.status.updated}/{t.status.state}"
            sessions[(t.run, t.id)] = Session(
                t.run, t.id, t.status, scalars=t.scalars, version=version
            )
        now = self._clock()
        expires = math.inf
        for key, session in sessions.items():
            session.state = session.status.state
            if session.state == "running":
                deadline = _deadline(session.status)
                if key in beats:
                    deadline = max(deadline, _deadline(beats[key]))
                if now >= deadline:
                    session.state = "interrupted"
                    session.damage.append(
                        "The log ends without an end record: the training was killed, "
                        "or its machine or log directory went away."
                    )
                else:
                    expires = min(expires, deadline)
            _if_nothing_was_seen(session)
        ordered = sorted(sessions.values(), key=lambda s: (s.status.started, s.run, s.id))
        decide(ordered)
        gather(ordered)
        return Snapshot(ordered, sorted(warnings), expires, frontiers)

    # --- Searches without NaN Watch ---------------------------------------------

    def has_unwatched(self, ctx: Any, experiment_id: str) -> bool:
        """Returns whether KerasTuner logged trainings that NaN Watch did not watch."""
        hparams = self._list_hparams(ctx, experiment_id)
        return bool(unwatched.only_hparams(hparams, ()))

    def _list_hparams(self, ctx: Any, experiment_id: str) -> dict[str, dict[str, Any]]:
        return self._provider.list_tensors(  # type: ignore[no-any-return]
            ctx, experiment_id=experiment_id, plugin_name=unwatched.HPARAMS_PLUGIN
        )

    def _list_scalars(
        self, ctx: Any, experiment_id: str, runs: dict[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        if not runs:
            return {}  # as nearly always: nothing more is asked for
        listing = self._provider.list_scalars(
            ctx, experiment_id=experiment_id, plugin_name=unwatched.SCALARS_PLUGIN
        )
        return unwatched.scalars_of(listing, runs)

    def _load_scalars(
        self,
        ctx: Any,
        experiment_id: str,
        loaded: dict[tuple[str, str], tuple[str, BadScalar | None]],
        listing: dict[str, dict[str, Any]],
    ) -> None:
        versions = {
            (run, tag): _version(series)
            for run, tags in listing.items()
            for tag, series in tags.items()
        }
        for key in set(loaded) - set(versions):
            del loaded[key]
        changed = [k for k, v in versions.items() if k not in loaded or loaded[k][0] != v]
        runs = sorted({run for run, _ in changed})
        for i in range(0, len(runs), _RUNS_PER_CALL):
            names = set(runs[i : i + _RUNS_PER_CALL])
            keys = [key for key in changed if key[0] in names]
            data = self._provider.read_scalars(
                ctx,
                experiment_id=experiment_id,
                plugin_name=unwatched.SCALARS_PLUGIN,
                downsample=KEEP_ALL,
                run_tag_filter=tb_provider.RunTagFilter(
                    runs=names, tags={tag for _, tag in keys}
                ),
            )
            for run, tag in keys:
                found = unwatched.bad_scalar(
                    run.rpartition("/")[2], tag, data.get(run, {}).get(tag, ())
                )
                loaded[(run, tag)] = (versions[(run, tag)], found)

    # --- One run ---------------------------------------------------------------

    def find(self, ctx: Any, experiment_id: str, run: str, session_id: str) -> Session:
        """Returns one session, as the last overview shows it if that is recent.

        Raises:
            NotFoundError: there is none.
        """
        recent = max(self._max_age, FIND_AGE) if self._max_age else 0.0
        session = self.snapshot(ctx, experiment_id, max_age=recent).find(run, session_id)
        if session is None:  # it may be younger than the snapshot
            session = self.snapshot(ctx, experiment_id, max_age=0).find(run, session_id)
        if session is None:
            raise NotFoundError(
                f"no session {session_id!r} in run {run!r:.200}; expected a run and "
                "session that the overview lists"
            )
        return session

    def detail(
        self, ctx: Any, experiment_id: str, session: Session, kinds: Sequence[str]
    ) -> Detail:
        """Returns all records of `kinds` of one session, and what is missing of them.

        Args:
            ctx: the `RequestContext`.
            experiment_id: TensorBoard's.
            session: one of a snapshot.
            kinds: kinds that are stored under `metadata.PLUGIN_NAME`.
        """
        tags = {metadata.make_tag(session.id, kind): kind for kind in kinds}
        data, failed = self._read(
            ctx, experiment_id, metadata.PLUGIN_NAME, [session.run], set(tags)
        )
        damage = list(failed.values())
        records: dict[str, list[Any]] = {}
        for tag, kind in tags.items():
            found, problems = _decode_all(data.get(session.run, {}).get(tag, ()), tag)
            records[kind] = found
            damage += problems
            expected = session.status.written.get(kind, 0)
            if found:
                expected = max(expected, found[-1].seq + 1)
            missing = expected - len(found)
            if missing > 0:
                seqs = {r.seq for r in found}
                first = next(i for i in range(expected) if i not in seqs)
                damage.append(
                    f"{missing} of {expected} {kind} records are missing (the first is "
                    f"number {first}): the event file is damaged, or TensorBoard was "
                    f"started with --samples_per_plugin={metadata.PLUGIN_NAME}=..., "
                    "which drops records."
                )
        return Detail(records, damage)

    # --- Calls to the provider -------------------------------------------------

    def _list(
        self, ctx: Any, experiment_id: str, plugin: str
    ) -> dict[str, dict[str, Any]]:
        listing = self._provider.list_tensors(
            ctx, experiment_id=experiment_id, plugin_name=plugin
        )
        return {
            run: {tag: s for tag, s in tags.items() if _belongs(tag, plugin)}
            for run, tags in listing.items()
        }

    def _read(
        self,
        ctx: Any,
        experiment_id: str,
        plugin: str,
        runs: Sequence[str],
        tags: Iterable[str],
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Returns the data, and the problem of each run that cannot be read.

        One tensor that TensorBoard cannot parse fails the whole call; the runs are
        then read in halves, so that one bad run does not hide the others.
        """
        if not runs:
            return {}, {}
        try:
            data = self._provider.read_tensors(
                ctx,
                experiment_id=experiment_id,
                plugin_name=plugin,
                downsample=KEEP_ALL,
                run_tag_filter=tb_provider.RunTagFilter(runs=set(runs), tags=set(tags)),
            )
            return data, {}
        except tb_errors.PublicError:
            raise  # not allowed, or no such experiment: no run's fault
        except Exception as e:
            if len(runs) == 1:
                logger.warning("NaN Watch cannot read run %r: %s", runs[0], e)
                return {}, {runs[0]: f"{type(e).__name__}: {e}"[:300]}
        half = len(runs) // 2
        data = {}
        failed: dict[str, str] = {}
        for part in (runs[:half], runs[half:]):
            d, f = self._read(ctx, experiment_id, plugin, part, tags)
            data |= d
            failed |= f
        return data, failed

    def _parallel(self, *calls: Callable[[], Any]) -> list[Any]:
        if len(calls) < 2:
            return [call() for call in calls]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(4, thread_name_prefix="nanwatch")
        futures = [self._pool.submit(call) for call in calls]
        return [future.result() for future in futures]


# --- Pure helpers ----------------------------------------------------------------


def _belongs(tag_name: str, plugin: str) -> bool:
    tag = metadata.parse_tag(tag_name)
    return tag is not None and metadata.PLUGIN_OF_KIND[tag.kind] == plugin


def _version(series: Any) -> str:
    # A string, since a NaN wall time is not equal to itself.
    return f"{series.max_step}/{series.max_wall_time}"


def _fingerprint(listing: dict[str, dict[str, Any]]) -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (run, tag, _version(series))
        for run, tags in listing.items()
        for tag, series in tags.items()
    )


def _decode(datum: Any, tag_name: str) -> Any:
    """Returns the datum's record.

    Raises:
        RecordError: it is not a record, or not one of this tag.
    """
    tag = metadata.parse_tag(tag_name)
    array = datum.numpy
    if tag is None or array.ndim != 1 or array.dtype != object:
        raise RecordError(
            f"record is a {array.dtype} tensor of {array.ndim} dimensions; expected a "
            "vector of strings"
        )
    record = codec.decode(array.tolist())
    if tag.kind != record.KIND or record.session_id != tag.session_id:
        raise RecordError(
            f"record of kind {record.KIND!r:.20} and session {record.session_id!r:.20} "
            f"under the tag {tag_name!r:.60}"
        )
    return record


def _newest(data: Sequence[Any], tag_name: str, version: str) -> _Loaded:
    """Returns the readable record with the highest sequence number.

    The provider may keep one record of the tag or all of them, in any order.
    """
    problem = None
    for datum in sorted(data, key=lambda d: d.step, reverse=True):
        try:
            return _Loaded(version, _decode(datum, tag_name), problem, datum.wall_time)
        except RecordError as e:
            problem = problem or str(e)
    return _Loaded(version, problem=problem or "the tag is empty")


def _decode_all(data: Sequence[Any], tag_name: str) -> tuple[list[Any], list[str]]:
    """Returns the records by sequence number, and the problems, a sentence each."""
    records: dict[int, Any] = {}
    bad: list[str] = []
    duplicates = size = 0
    seen: dict[int, list[bytes]] = {}
    for datum in data:
        try:
            record = _decode(datum, tag_name)
            size += codec.array_bytes(record)
            if size > _MAX_DECODED_BYTES:
                raise RecordError(f"more than {_MAX_DECODED_BYTES} bytes of arrays")
        except RecordError as e:
            bad.append(str(e))
            continue
        elements = datum.numpy.tolist()
        # What was written a second time, since the place failed after the first, is no
        # damage.
        duplicates += record.seq in seen and seen[record.seq] != elements
        seen[record.seq] = elements
        records[record.seq] = record  # the later one was written later
    kind = tag_name.rpartition("/")[2]
    problems = []
    if bad:
        problems.append(f"{len(bad)} {kind} records cannot be read; the first: {bad[0]}")
    if duplicates:
        problems.append(
            f"{duplicates} {kind} records have a sequence number that was used before; "
            "the later of each is shown."
        )
    return [records[seq] for seq in sorted(records)], problems


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
    """Yields what the status says was written, of the kinds that are read on demand."""
    for kind, written in session.status.written.items():
        if metadata.PLUGIN_OF_KIND.get(kind) == metadata.PLUGIN_NAME and written > 0:
            yield kind, written


def _count_records(sessions: list[Session], others: dict[str, dict[str, Any]]) -> None:
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


def _short(
    sessions: list[Session], others: dict[str, dict[str, Any]]
) -> list[tuple[Session, str]]:
    """Returns the sessions that lack records that their status says were written."""
    short = []
    for session in sessions:
        tags = others.get(session.run, {})
        for kind, written in _on_demand(session):
            series = tags.get(metadata.make_tag(session.id, kind))
            found = 0 if series is None else series.max_step + 1
            if found < written:
                short.append(
                    (
                        session,
                        f"The last {written - found} of {written} {kind} records are "
                        "missing; the event file is damaged or incomplete.",
                    )
                )
    return short


def _status_without_training(
    loaded: _Loaded, run: str, searches: dict[str, schema.Search | None]
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
