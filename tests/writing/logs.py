"""Event files back into records, with TensorBoard's own file reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2

from tb_nanwatch.record import codec, metadata, schema


@dataclass
class Log:
    """The records of one run directory, by kind, in the order of the files."""

    records: list[Any] = field(default_factory=list)
    # Other plugins' values: tag to content.
    others: dict[str, bytes] = field(default_factory=dict)

    def all(self, kind: str) -> list[Any]:
        return [r for r in self.records if kind == r.KIND]

    @property
    def status(self) -> schema.StatusRecord:
        """The newest status."""
        return self.all("status")[-1]

    @property
    def session(self) -> schema.SessionRecord:
        """The newest description of the session."""
        return self.all("session")[-1]

    @property
    def episodes(self) -> list[schema.Episode]:
        """Each episode as last written, in order."""
        by_id = {e.id: e for r in self.all("events") for e in r.episodes}
        return [by_id[i] for i in sorted(by_id)]

    @property
    def sessions(self) -> list[str]:
        """The ids of the sessions, in order."""
        return list(dict.fromkeys(r.session_id for r in self.records))

    def of(self, session_id: str) -> Log:
        """The records of one session."""
        return Log([r for r in self.records if r.session_id == session_id], self.others)


def events_in(path: Path) -> Iterator[Any]:
    for raw in event_file_loader.RawEventFileLoader(str(path)).Load():
        yield event_pb2.Event.FromString(raw)


def read_log(run_dir: Path) -> Log:
    """Returns what NaN Watch wrote into one directory."""
    log = Log()
    for path in sorted(
        Path(run_dir).glob("*.nanwatch"), key=lambda p: int(p.name.split(".")[-2])
    ):
        for event in events_in(path):
            for value in event.summary.value:
                tag = metadata.parse_tag(value.tag)
                if tag is None:
                    log.others[value.tag] = value.metadata.plugin_data.content
                    continue
                record = codec.decode(list(value.tensor.string_val))
                assert (record.session_id, record.KIND) == tag
                assert record.seq == event.step
                log.records.append(record)
    return log
