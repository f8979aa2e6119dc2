"""The only writer of event files."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
import warnings
from collections.abc import Callable
from typing import IO, Any, Final

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_nanwatch import metadata, schema
from tb_nanwatch.errors import NanWatchWarning

# Bytes kept while the log directory cannot be written; enough for hours of
# status and events, and small beside any training process.
_MAX_PENDING_BYTES: Final = 32 << 20
_file_numbers = itertools.count()


def _open(log_dir: str) -> tuple[str, IO[bytes]]:
    name = (
        f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        f".{os.getpid()}.{next(_file_numbers)}.nanwatch"
    )
    if "://" in log_dir:
        import tensorflow as tf

        path = f"{log_dir.rstrip('/')}/{name}"
        tf.io.gfile.makedirs(log_dir)
        return path, tf.io.gfile.GFile(path, "wb")
    os.makedirs(log_dir, exist_ok=True)
    path = os.path.join(log_dir, name)
    return path, open(path, "xb")


def record_event(record: schema.AnyRecord, wall_time: float) -> bytes:
    """Returns the serialized TensorBoard event that carries `record`.

    Its step is the record's sequence number, never the training step: the data
    server deletes what a tag holds at or after the step of a new record.
    """
    elements = schema.encode(record)
    value = summary_pb2.Summary.Value(
        tag=metadata.make_tag(record.session_id, record.KIND),
        tensor=tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            string_val=elements,
            tensor_shape={"dim": [{"size": len(elements)}]},
        ),
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(
                plugin_name=metadata.PLUGIN_OF_KIND[record.KIND],
                content=b'{"v":%d}' % schema.SCHEMA_VERSION,
            ),
            data_class=summary_pb2.DATA_CLASS_TENSOR,
        ),
    )
    event = event_pb2.Event(wall_time=wall_time, step=record.seq)
    event.summary.value.append(value)
    serialized: bytes = event.SerializeToString()
    return serialized


class EventWriter:
    """Appends records to one event file, flushing each.

    A place that cannot be written never stops the training: what was to be
    written is kept (up to a limit), one warning is given, and every later write
    tries again, in a new file.

    Args:
        log_dir: the run's directory; made when the first record is written.
        clock: returns seconds since the epoch.
    """

    def __init__(self, log_dir: str, clock: Callable[[], float] = time.time) -> None:
        self.log_dir = log_dir
        self._clock = clock
        self._path: str | None = None
        self._file: IO[bytes] | None = None
        self._records: Any = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._warned = False

    def write(self, *records: schema.AnyRecord) -> None:
        """Writes `records` and flushes. Never raises for a bad place."""
        now = self._clock()
        self._append([record_event(record, now) for record in records])

    def write_summary(self, summary: summary_pb2.Summary) -> None:
        """Writes a summary of another plugin (HParams' session records)."""
        event = event_pb2.Event(wall_time=self._clock())
        # Through bytes: where TensorFlow is installed, the summary is of its class.
        event.summary.MergeFromString(summary.SerializeToString())
        self._append([event.SerializeToString()])

    def close(self) -> None:
        """Writes what is pending, if that is possible by now, and closes."""
        if self._pending:
            self._append([])
        self._drop_file()

    def _append(self, events: list[bytes]) -> None:
        self._pending += events
        self._pending_bytes += sum(map(len, events))
        try:
            self._flush_pending()
        except Exception as e:  # whatever a file system raises, training goes on
            self._drop_file()
            self._shed()
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"NaN Watch cannot write to {self.log_dir!r}: {type(e).__name__}: {e}. "
                    "Training goes on; the records are kept in memory and written when "
                    "the directory can be written again.",
                    NanWatchWarning,
                    stacklevel=2,
                )

    def _flush_pending(self) -> None:
        path = self._path
        if path is not None and "://" not in path and not os.path.exists(path):
            self._drop_file()  # it was deleted under us
        if self._file is None:
            self._path, self._file = _open(self.log_dir)
            self._records = RecordWriter(self._file)
            version = event_pb2.Event(
                wall_time=self._clock(), file_version="brain.Event:2"
            )
            self._records.write(version.SerializeToString())
        for event in self._pending:
            self._records.write(event)
        self._file.flush()
        self._pending.clear()
        self._pending_bytes = 0

    def _shed(self) -> None:
        while self._pending_bytes > _MAX_PENDING_BYTES:
            # The newest status and events matter most.
            self._pending_bytes -= len(self._pending.pop(0))

    def _drop_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(Exception):  # the warning was already given
                self._file.close()
        self._path = self._file = self._records = None
