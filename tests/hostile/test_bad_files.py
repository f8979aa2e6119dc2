"""Damaged event files, in both loaders: the rest is shown, and the damage is named."""

from __future__ import annotations

import gzip
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.summary.writer.record_writer import RecordWriter
from werkzeug.test import Client

from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.overview import overview as overview_of
from tb_nanwatch.reading.tab.plugin import NanWatchPlugin
from tb_nanwatch.record.schema import RANGE_COLUMNS
from tb_nanwatch.writing.log.summary import record_event
from tests.hostile.conftest import FULL, Tally
from tests.reading.records import (
    CTX,
    LOADERS,
    STARTED,
    a_ranges,
    a_session,
    a_status,
    an_events,
    write,
)

TITLE = "damaged event files, in both loaders"
LATER = STARTED + 1e6  # every heartbeat is overdue
KINDS = ("session", "events", "ranges", "flight")
NAME = "events.out.tfevents.1.x"


def a_run() -> list[Any]:
    """A run's records in the order of a training, with its beginning and its end."""
    plain = {"search": None, "trial_id": None}
    found: list[Any] = [a_status(seq=0, state="running", steps=0, **plain), a_session()]
    written = {"status": 1, "session": 1, "events": 0, "ranges": 0}
    for i in range(4):
        found += [an_events(1, i, i), a_ranges(1, i, [(5 * i, 5 * i + 4)])]
        written = written | {"events": i + 1, "ranges": i + 1, "status": i + 1}
        last = i == 3
        state = "finished" if last else "running"
        more = {"steps": 5 * i + 5, "written": written, **plain}
        found.append(a_status(seq=i + 1, state=state, **more))
    return found


EVENTS = [record_event(r, STARTED) for r in a_run()]


def as_file(events: list[bytes]) -> tuple[bytes, list[int]]:
    """Returns an event file, and where each of its records ends."""
    out, ends = io.BytesIO(), []
    records = RecordWriter(out)
    version = event_pb2.Event(wall_time=STARTED, file_version="brain.Event:2")
    for event in [version.SerializeToString(), *events]:
        records.write(event)
        ends.append(out.tell())
    return out.getvalue(), ends


WHOLE, ENDS = as_file(EVENTS)


def edited(index: int, edit: Callable[[Any], None]) -> bytes:
    """Returns the file with one event edited."""
    event = event_pb2.Event.FromString(EVENTS[index])
    edit(event)
    return as_file([*EVENTS[:index], event.SerializeToString(), *EVENTS[index + 1 :]])[0]


def header(old: bytes, new: bytes) -> Callable[[Any], None]:
    def edit(event: Any) -> None:
        elements = event.summary.value[0].tensor.string_val
        assert old in elements[0]
        elements[0] = elements[0].replace(old, new)

    return edit


def foreign(event: Any) -> None:
    event.summary.value[0].metadata.plugin_data.plugin_name = "somebody"


def wrong_type(event: Any) -> None:
    value = event.summary.value[0]
    value.tensor.Clear()
    value.tensor.dtype = 1
    value.tensor.float_val.append(1.0)


def wrong_dims(event: Any) -> None:
    event.summary.value[0].tensor.tensor_shape.dim.add().size = 1 << 40


def no_time(event: Any) -> None:
    event.wall_time = math.nan


STATUS, RANGES, EVENT = 7, 3, 5  # of the records in the middle
SHAPE = b"[1,2,%d]" % len(RANGE_COLUMNS)
LAST = len(EVENTS) - 1
# What was done, the file, and whether what is left of the run must be complained of.
BY_HAND: dict[str, tuple[bytes, bool]] = {
    "whole": (WHOLE, False),
    "foreign record under our tag": (edited(RANGES, foreign), True),
    "newer schema": (edited(RANGES, header(b'"v":1', b'"v":99')), True),
    "newer schema of the end": (edited(LAST, header(b'"v":1', b'"v":99')), True),
    "wrong shape": (edited(RANGES, header(SHAPE, SHAPE.replace(b"1,2", b"2,1"))), True),
    "huge size": (
        edited(RANGES, header(SHAPE, SHAPE.replace(b"1,2", b"67108864,1"))),
        True,
    ),
    "another tensor type": (edited(EVENT, wrong_type), True),
    "dimensions that are not there": (edited(EVENT, wrong_dims), True),
    "no time": (edited(STATUS, no_time), False),
    "no time at the end": (edited(LAST, no_time), False),
    "a record twice": (as_file([*EVENTS, EVENTS[RANGES]])[0], False),
    "another record of the same step": (
        as_file([*EVENTS[:-1], record_event(an_events(1, 2, 9), STARTED), EVENTS[-1]])[0],
        True,
    ),
    "a gap": (as_file(EVENTS[:RANGES] + EVENTS[RANGES + 1 :])[0], True),
    "no end": (as_file(EVENTS[:-1])[0], True),
    "empty": (b"", False),
    "not an event file": (b"\x00\xff" * 4000, False),
}


def damaged(full: bool) -> dict[str, bytes]:
    """Returns files by the name of their run."""
    r = random.Random(5)
    many = 400 if full else 40
    files = {f"hand/{name}": data for name, (data, _) in BY_HAND.items()}
    files |= {f"boundary/{end}": WHOLE[:end] for end in ENDS}
    cuts = sorted({r.randrange(len(WHOLE)) for _ in range(many)})
    files |= {f"cut/{cut}": WHOLE[:cut] for cut in cuts}
    for at in sorted({r.randrange(len(WHOLE)) for _ in range(many)}):
        flipped = bytearray(WHOLE)
        flipped[at] ^= 1 << r.randrange(8)
        files[f"flip/{at}"] = bytes(flipped)
    return files


class Read:
    """A log directory of damaged runs as one loader shows it."""

    def __init__(self, reader: Reader, provider: Any, files: dict[str, bytes]) -> None:
        self.reader, self.provider, self.files = reader, provider, files
        self.snapshot: Snapshot = reader.snapshot(CTX, "")

    def session(self, run: str) -> Session | None:
        found = [s for s in self.snapshot.sessions if s.run == run]
        assert len(found) <= 1
        return found[0] if found else None

    def complaints(self, run: str) -> list[str]:
        """All that is said of a run's damage, in the overview and on its page."""
        said = [w for w in self.snapshot.warnings if repr(run) in w]
        session = self.session(run)
        if session is not None:
            said += session.damage
            said += self.reader.detail(CTX, "", session, KINDS).damage
        return said


@pytest.fixture(scope="module", params=sorted(LOADERS))
def read(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, full: bool
) -> Iterator[Read]:
    logdir = tmp_path_factory.mktemp("logs")
    files = damaged(full)
    for run, data in files.items():
        (logdir / run).mkdir(parents=True)
        (logdir / run / NAME).write_bytes(data)
    (logdir / "folder" / NAME).mkdir(parents=True)  # a directory named as a file
    write(logdir / "zzz", a_status(2))
    loaded = LOADERS[request.param](logdir)
    reader = Reader(loaded.provider, clock=lambda: LATER, max_age=0)
    assert loaded.wait(
        lambda: (
            {"zzz", "hand/whole"} <= {s.run for s in reader.snapshot(CTX, "").sessions}
        )
    )
    yield Read(reader, loaded.provider, files)
    loaded.close()


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_damage_by_hand_is_named(name: str, read: Read) -> None:
    complaints = read.complaints(f"hand/{name}")
    if BY_HAND[name][1]:
        assert complaints
    if name in ("whole", "empty", "not an event file"):
        assert complaints == []
    session = read.session(f"hand/{name}")
    # TensorBoard is told to keep the newest status alone: no older one can stand in.
    if name in ("empty", "not an event file", "newer schema of the end"):
        assert session is None
    else:
        assert session is not None
        assert session.status.steps > 0


def test_a_file_cut_anywhere_shows_all_that_is_before_the_cut(read: Read) -> None:
    for run, data in read.files.items():
        if not run.startswith(("boundary/", "cut/")):
            continue
        whole = [r for r, end in zip(a_run(), ENDS[1:], strict=True) if end <= len(data)]
        session, said = read.session(run), read.complaints(run)
        if not any(r.KIND == "status" for r in whole):
            assert session is None
            assert not whole or said, run
            continue
        assert session is not None, run
        newest = [r for r in whole if r.KIND == "status"][-1]
        assert session.status.steps == newest.steps, run
        detail = read.reader.detail(CTX, "", session, KINDS)
        for kind in KINDS:
            expected = [r.seq for r in whole if kind == r.KIND]
            assert [r.seq for r in detail.records[kind]] == expected, (run, kind)
        ended = newest.state == "finished"
        assert session.state == ("finished" if ended else "interrupted"), run
        assert bool(said) == (not ended), (run, said)


def test_a_flipped_bit_is_seen_or_harmless(read: Read) -> None:
    """What is shown is as it was written; what is not shown is told of."""
    wrong = []
    for run in read.files:
        if not run.startswith("flip/"):
            continue
        session = read.session(run)
        if session is None:
            # Before the first status: nothing of ours was read, or it is told of.
            if int(run.removeprefix("flip/")) > ENDS[1]:
                wrong += [run] * (not read.complaints(run))
            continue
        if session.state != "finished":
            wrong += [run] * (not read.complaints(run))
        detail = read.reader.detail(CTX, "", session, ("ranges",))
        for record in detail.records["ranges"]:
            np.testing.assert_array_equal(
                record.stats, a_run()[RANGES].stats * 0 + record.seq
            )
    assert wrong == []


def test_the_healthy_run_is_beside_them(read: Read) -> None:
    session = read.session("zzz")
    assert session is not None and session.damage == []
    assert read.complaints("zzz") == []


def test_every_route_answers_for_every_run(read: Read, tally: Tally) -> None:
    plugin = NanWatchPlugin(TBContext(data_provider=read.provider), read.reader)
    apps = plugin.get_plugin_apps()
    clients = {r: Client(apps[f"/{r}"]) for r in ("overview", "run", "ranges", "flight")}
    shown = clients["overview"].get("/", headers={"Accept-Encoding": "gzip"})
    overview = json.loads(gzip.decompress(shown.data))
    runs = [run for run in overview["runs"] if FULL or run["run"].startswith("hand/")]
    assert len(runs) > 10
    for run in runs:
        key = {"run": run["run"], "session": run["session"], "phase": "train"}
        for route in ("run", "ranges", "flight"):
            response = clients[route].get("/", query_string=key)
            assert response.status_code == 200, (run["run"], route, response.data)
    tally.add(TITLE, len(read.files))


def test_the_report_names_the_damaged_runs(read: Read) -> None:
    out = io.StringIO()
    terminal.render(overview_of(read.snapshot), out)
    assert "Damage in hand/no end: The log ends without an end record" in out.getvalue()
    assert "Damage in zzz" not in out.getvalue()
