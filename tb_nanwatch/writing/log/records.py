# SPDX-License-Identifier: Apache-2.0
"""Numbers and writes the records of one training, and keeps the latest for the diagnosis."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.log.environment import TrainingSetup
from tb_nanwatch.writing.log.summary import EventWriter
from tb_nanwatch.writing.recording.buckets import Bucket
from tb_nanwatch.writing.recording.recorder import Recorder

# Buckets are written together while nothing happens: fewer, better compressed records.
_BUCKETS_SECONDS: Final = 10.0
_BUCKETS_MAX: Final = 64
# TrainingRecords of ranges that are kept for the message at the onset: how the run began, and
# what it came to just before.
_KEPT_RANGES: Final = 16


class TrainingRecords:
    """Writes the records of one training.

    Args:
        session_id: of the training.
        recorder: of the training.
        environment: the set-up of the training.
        notes: sentences on what cannot be watched; may grow while training goes on.
        writer: of the run's event file.
        started: when the training began, in seconds since the epoch.

    Attributes:
        written: number of records by kind.
        described, status: the latest session record and status.
        flights: the latest flight record, in a list.
    """

    def __init__(
        self,
        session_id: str,
        recorder: Recorder,
        environment: TrainingSetup,
        notes: Sequence[str],
        writer: EventWriter,
        started: float,
    ) -> None:
        self._id, self._recorder, self._environment = session_id, recorder, environment
        self._notes, self._notes_written = notes, 0
        self._writer = writer
        self.written: dict[str, int] = {}
        self.described: schema.SessionRecord | None = None
        self.status: schema.StatusRecord | None = None
        self.flights: list[schema.FlightRecord] = []
        self._first_ranges: list[schema.RangesRecord] = []
        self._last_ranges: deque[schema.RangesRecord] = deque(maxlen=_KEPT_RANGES)
        self._buckets: dict[Phase, list[Bucket]] = {"train": [], "validation": []}
        self._buckets_at = started

    @property
    def ranges(self) -> list[schema.RangesRecord]:
        """Some records of ranges: the first ones of the training, and the latest."""
        return [*self._first_ranges, *self._last_ranges]

    def next_number(self, kind: str) -> int:
        """Returns the number of the next record of a kind."""
        return self.written.get(kind, 0)

    def write(self, record: schema.AnyRecord) -> None:
        """Writes a record, and keeps it where the diagnosis needs it."""
        self.written[record.KIND] = record.seq + 1
        self._writer.write(record)
        if isinstance(record, schema.StatusRecord):
            self.status = record
        elif isinstance(record, schema.SessionRecord):
            self.described = record
        elif isinstance(record, schema.RangesRecord):
            kept = self._first_ranges
            (kept if len(kept) < _KEPT_RANGES else self._last_ranges).append(record)
        elif isinstance(record, schema.FlightRecord):
            self.flights = [record]

    def write_session_if_changed(self) -> None:
        """Writes the session record where the set-up or the watched tensors have changed."""
        if not self._recorder.probes_changed and len(self._notes) == self._notes_written:
            return
        self._recorder.probes_changed = False
        self._notes_written = len(self._notes)
        e = self._environment
        self.write(
            schema.SessionRecord(
                self._id,
                self.next_number("session"),
                train_probes=self._recorder.probes("train"),
                validation_probes=self._recorder.probes("validation"),
                model=e.model,
                optimizer=e.optimizer,
                loss=e.loss,
                label_interval=e.label_interval,
                precision=e.precision,
                replicas=e.replicas,
                jit_compile=e.jit_compile,
                steps_per_execution=e.steps_per_execution,
                versions=e.versions,
                notes=list(dict.fromkeys(self._notes)),
            )
        )

    def write_events(self) -> bool:
        """Writes the episodes that have changed; returns whether there are any."""
        tracker = self._recorder.tracker
        episodes = tracker.take_changed()
        if not episodes:
            return False
        self.write(
            schema.EventsRecord(
                self._id, self.next_number("events"), episodes, tracker.dropped
            )
        )
        return True

    def write_flight(self, last: bool) -> None:
        """Writes the flight recorder where it is due.

        Args:
            last: whether the training has ended.
        """
        flight = self._recorder.take_flight(last)
        if flight is not None:
            self.write(
                schema.FlightRecord(
                    self._id,
                    self.next_number("flight"),
                    phase=flight.phase,
                    steps=flight.steps,
                    rms=flight.rms,
                    full_steps=flight.full_steps,
                    stats=flight.stats,
                    counts=flight.counts,
                )
            )

    def write_ranges(self, now: float, force: bool) -> None:
        """Writes the ranges of the last steps where they are due.

        Args:
            now: seconds since the epoch.
            force: whether they are due in any case.
        """
        for phase in self._buckets:
            self._buckets[phase] += self._recorder.take_buckets(phase)
        waiting = sum(map(len, self._buckets.values()))
        if not (
            force or waiting > _BUCKETS_MAX or now - self._buckets_at > _BUCKETS_SECONDS
        ):
            return
        self._buckets_at = now
        for phase in self._buckets:
            buckets, self._buckets[phase] = self._buckets[phase], []
            if not buckets:
                continue
            n = len(self._recorder.probes(phase))
            for bucket in buckets:
                bucket.widen(n)
            self.write(
                schema.RangesRecord(
                    self._id,
                    self.next_number("ranges"),
                    phase=phase,
                    steps=np.array([(b.start, b.end) for b in buckets], np.int64),
                    stats=np.stack([b.stats() for b in buckets]),
                    counts=np.stack([b.counts for b in buckets]),
                    bad_steps=np.stack([b.bad_steps for b in buckets]),
                    measured=np.array([b.measured for b in buckets], np.int64),
                )
            )
