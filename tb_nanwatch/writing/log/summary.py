# SPDX-License-Identifier: Apache-2.0
"""The only writer of event files."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tb_nanwatch.compat import tensorboard
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.record import codec, metadata, schema
from tb_nanwatch.record.framing import framed
from tb_nanwatch.writing.log.files import LogFile, open_log

# Bytes kept while the log directory cannot be written; enough for hours of
# status and events, and small beside any training process.
_MAX_PENDING_BYTES: Final = 32 << 20
# Places that are known to be bad: a search of a thousand trials warns once.
_BAD_PLACES: set[str] = set()


def record_event(record: schema.AnyRecord, wall_time: float) -> bytes:
    """Returns the serialized TensorBoard event that carries `record`.

    Its step is the record's sequence number, never the training step: the data
    server deletes what a tag holds at or after the step of a new record.
    """
    elements = codec.encode(record)
    event = tensorboard.event(wall_time, step=record.seq)
    event.summary.value.add(
        tag=metadata.make_tag(record.session_id, record.KIND),
        tensor={
            "dtype": "DT_STRING",
            "string_val": elements,
            "tensor_shape": {"dim": [{"size": len(elements)}]},
        },
        metadata={
            "plugin_data": {
                "plugin_name": metadata.PLUGIN_OF_KIND[record.KIND],
                "content": b'{"v":%d}' % schema.SCHEMA_VERSION,
            },
            "data_class": "DATA_CLASS_TENSOR",
        },
    )
    serialized: bytes = event.SerializeToString()
    return serialized


class EventWriter:
    """Appends records to one event file, each handed over at once.

    A place that cannot be written never stops the training: pending records are kept (up to
    a limit), one warning is given, and every later write
    tries again.

    Args:
        log_dir: the run's directory; made when the first record is written.
        clock: returns seconds since the epoch.
        place: what the user gave as log directory, for the warning; runs of one
            place that cannot be written warn once.
    """

    def __init__(
        self,
        log_dir: str,
        clock: Callable[[], float] = time.time,
        place: str | None = None,
    ) -> None:
        self.log_dir = log_dir
        self._place = log_dir if place is None else place
        self._clock = clock
        self._file: LogFile | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._warned = False

    def write(self, *records: schema.AnyRecord) -> None:
        """Writes `records` and flushes. Never raises for a bad place."""
        now = self._clock()
        self._append([record_event(record, now) for record in records])

    def write_summary(self, summary: Any) -> None:
        """Writes a summary of another plugin (HParams' session records)."""
        event = tensorboard.event(self._clock())
        # Through bytes: where TensorFlow is installed, the summary is of its class.
        event.summary.MergeFromString(summary.SerializeToString())
        self._append([event.SerializeToString()])

    @property
    def is_lost(self) -> bool:
        """Whether the file with the records written so far is gone."""
        return self._file is not None and not self._file.usable()

    def close(self) -> None:
        """Writes pending records, if that is possible by now, and closes the file."""
        if self._pending:
            self._append([])
        self._drop_file()

    def _append(self, events: list[bytes]) -> None:
        self._pending += events
        self._pending_bytes += sum(map(len, events))
        try:
            self._flush_pending()
            _BAD_PLACES.discard(self._place)
        except Exception as e:  # whatever a file system raises, training goes on
            self._shed()
            if not self._warned and self._place not in _BAD_PLACES:
                _BAD_PLACES.add(self._place)
                warnings.warn(
                    f"NaN Watch cannot write to {self.log_dir!r}: {type(e).__name__}: {e}. "
                    "Training goes on; the records are kept in memory and written when "
                    "the directory can be written again, or lost where that comes to "
                    "pass only after the run's end.",
                    NanWatchWarning,
                    stacklevel=2,
                )
            self._warned = True

    def _flush_pending(self) -> None:
        if self.is_lost:
            self._drop_file()
        version = b""
        if self._file is None:
            self._file = open_log(self.log_dir)
            first = tensorboard.event(self._clock(), file_version="brain.Event:2")
            version = first.SerializeToString()
        events = [version, *self._pending] if version else self._pending
        try:
            self._file.append(b"".join(map(framed, events)))
        except BaseException:
            if version:
                self._drop_file()
            raise
        self._pending.clear()
        self._pending_bytes = 0

    def _shed(self) -> None:
        while self._pending_bytes > _MAX_PENDING_BYTES:
            # The newest status and events matter most.
            self._pending_bytes -= len(self._pending.pop(0))

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


def search_writer(
    status: schema.StatusRecord, run_dir: str, place: str | None = None
) -> Callable[[schema.Search], None]:
    """Returns a function that writes a run's last status again, with another search in it.

    The function keeps nothing else of the run in memory.

    Args:
        status: the last that was written.
        run_dir: directory of the run's event file.
        place: the log directory as the user gave it.
    """

    def rename(search: schema.Search) -> None:
        writer = EventWriter(run_dir, place=place)
        writer.write(replace(status, seq=status.seq + 1, search=search))
        writer.close()

    return rename
