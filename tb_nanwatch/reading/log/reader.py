# SPDX-License-Identifier: Apache-2.0
"""Reads sessions: all for the overview, one on demand; reads only records that changed.

The overview needs the small status records alone, and reads again only those that
changed; everything else is read for one run, on demand.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tb_nanwatch.reading.log import unwatched
from tb_nanwatch.reading.log.provider import Listing, Parallel, ProvidedExperiment
from tb_nanwatch.reading.log.records import (
    Loaded,
    decode_all,
    fingerprint,
    newest,
    version_of,
)
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import (
    Snapshot,
    count_records,
    short_of,
    snapshot_of,
)
from tb_nanwatch.reading.log.unwatched import BadScalar
from tb_nanwatch.record import metadata
from tb_nanwatch.wording.damage_text import missing_text

# TensorBoard reloads the log directory every 5 seconds at best; asking more often
# than this would tell nothing new, and each call to the data server stalls 45 ms.
MAX_AGE: Final = 1.0
# Whoever opens a run came from an overview, and asks for no newer list of all runs: that
# would cost a call more to the data server before the first of the run's own.
FIND_AGE: Final = 60.0
# Runs read in one call to the provider: a gRPC message holds 256 MB, and a status
# record with its lane is some 20 kB.
_RUNS_PER_CALL: Final = 1000

Clock = Callable[[], float]


class NotFoundError(LookupError):
    """There is no such run, or no such session in it."""


@dataclass
class Detail:
    """Records of one session, read on demand, each kind in order of `seq`."""

    records: dict[str, list[Any]]
    damage: list[str]


@dataclass
class _Experiment:
    """The records of one experiment that were read so far."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: dict[tuple[str, str], Loaded] = field(default_factory=dict)
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
        self._parallel = Parallel()

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
        source = ProvidedExperiment(self._provider, ctx, experiment_id)
        with experiment.lock:
            age = time.monotonic() - experiment.checked
            old = experiment.snapshot
            valid = old is not None and self._clock() < old.expires
            if old is not None and valid and age < allowed:
                return old
            statuses, others, hparams = self._parallel(
                lambda: source.list(metadata.STATUS_PLUGIN_NAME),
                lambda: source.list(metadata.PLUGIN_NAME),
                source.list_hparams,
            )
            watched = {r for listing in (statuses, others) for r in listing if listing[r]}
            hparams = unwatched.only_hparams(hparams, watched)
            scalars = source.list_scalars(hparams)
            listings = (statuses, others, hparams, scalars)
            version = tuple(fingerprint(listing) for listing in listings)
            experiment.checked = time.monotonic()
            if old is not None and valid and version == experiment.version:
                return old
            self._load_changed(source, experiment.loaded, statuses)
            _load_scalars(source, experiment.scalars, scalars)
            trainings = _unwatched_trainings(hparams, scalars, experiment.scalars)
            snapshot = snapshot_of(experiment.loaded, others, trainings, self._clock())
            if short_of(snapshot.sessions, others):
                # The status may have arrived between the two listings.
                others = source.list(metadata.PLUGIN_NAME)
            for session, sentence in short_of(snapshot.sessions, others):
                session.damage.append(sentence)
            count_records(snapshot.sessions, others)
            experiment.snapshot, experiment.version = snapshot, version
            return snapshot

    def _experiment(self, experiment_id: str) -> _Experiment:
        with self._lock:
            if experiment_id not in self._experiments and len(self._experiments) >= 16:
                self._experiments.clear()  # ids are the client's: bound the memory
            return self._experiments.setdefault(experiment_id, _Experiment())

    def _load_changed(
        self,
        source: ProvidedExperiment,
        loaded: dict[tuple[str, str], Loaded],
        listing: Listing,
    ) -> None:
        versions = _versions(listing)
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

        def read(chunk: list[str]) -> tuple[Listing, dict[str, str]]:
            names = set(chunk)
            tags = {tag for run, tag in changed if run in names}
            return source.read(metadata.STATUS_PLUGIN_NAME, chunk, tags)

        for data, failed in self._parallel(*[lambda c=c: read(c) for c in chunks]):
            for key in changed:
                run, tag = key
                if run in failed:
                    loaded[key] = Loaded(versions[key], problem=failed[run])
                elif tag in data.get(run, {}):
                    loaded[key] = newest(data[run][tag], tag, versions[key])

    def has_unwatched(self, ctx: Any, experiment_id: str) -> bool:
        """Returns whether KerasTuner logged trainings that NaN Watch did not watch."""
        hparams = ProvidedExperiment(self._provider, ctx, experiment_id).list_hparams()
        return bool(unwatched.only_hparams(hparams, ()))

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
        """Returns all records of `kinds` of one session, and sentences on missing ones.

        Args:
            ctx: the `RequestContext`.
            experiment_id: TensorBoard's.
            session: one of a snapshot.
            kinds: kinds that are stored under `metadata.PLUGIN_NAME`.
        """
        tags = {metadata.make_tag(session.id, kind): kind for kind in kinds}
        source = ProvidedExperiment(self._provider, ctx, experiment_id)
        data, failed = source.read(metadata.PLUGIN_NAME, [session.run], set(tags))
        damage = list(failed.values())
        records: dict[str, list[Any]] = {}
        for tag, kind in tags.items():
            found, problems = decode_all(data.get(session.run, {}).get(tag, ()), tag)
            records[kind] = found
            damage += problems
            expected = session.status.written.get(kind, 0)
            if found:
                expected = max(expected, found[-1].seq + 1)
            missing = expected - len(found)
            if missing > 0:
                seqs = {r.seq for r in found}
                first = next(i for i in range(expected) if i not in seqs)
                damage.append(missing_text(missing, expected, kind, first))
        return Detail(records, damage)


def _versions(listing: Listing) -> dict[tuple[str, str], str]:
    return {
        (run, tag): version_of(series)
        for run, tags in listing.items()
        for tag, series in tags.items()
    }


def _unwatched_trainings(
    hparams: Listing,
    scalars: Listing,
    read: dict[tuple[str, str], tuple[str, BadScalar | None]],
) -> list[unwatched.LoggedTraining]:
    bad = [(run, found) for (run, _), (_, found) in read.items() if found]
    trainings = (
        unwatched.training(run, tags, scalars, bad) for run, tags in hparams.items()
    )
    return [t for t in trainings if t is not None]


def _load_scalars(
    source: ProvidedExperiment,
    loaded: dict[tuple[str, str], tuple[str, BadScalar | None]],
    listing: Listing,
) -> None:
    """Reads the scalars that have changed of runs that were not watched."""
    versions = _versions(listing)
    for key in set(loaded) - set(versions):
        del loaded[key]
    changed = [k for k, v in versions.items() if k not in loaded or loaded[k][0] != v]
    runs = sorted({run for run, _ in changed})
    for i in range(0, len(runs), _RUNS_PER_CALL):
        names = set(runs[i : i + _RUNS_PER_CALL])
        keys = [key for key in changed if key[0] in names]
        data = source.read_scalars(names, (tag for _, tag in keys))
        for run, tag in keys:
            found = unwatched.bad_scalar(
                run.rpartition("/")[2], tag, data.get(run, {}).get(tag, ())
            )
            loaded[(run, tag)] = (versions[(run, tag)], found)
