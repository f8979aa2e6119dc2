"""Sessions, states, grouping and damage, over real event files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_nanwatch.reading.log.reader import NotFoundError, Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.record import codec, metadata
from tb_nanwatch.writing.log.summary import EventWriter, record_event
from tests.reading.records import (
    CTX,
    STARTED,
    Loaded,
    a_ranges,
    a_search,
    a_session,
    a_status,
    a_verdict,
    an_events,
    session_id,
    write,
)

Read = Callable[..., Reader]


def snapshot(reader: Reader) -> Snapshot:
    return reader.snapshot(CTX, "")


def only(reader: Reader) -> Session:
    (session,) = snapshot(reader).sessions
    return session


# --- Finding sessions ---------------------------------------------------------------


def test_an_empty_directory_has_no_sessions(read: Read) -> None:
    assert snapshot(read()).sessions == []
    assert snapshot(read()).warnings == []


def test_a_session_is_found_with_its_status_and_verdict(
    tmp_path: Path, read: Read
) -> None:
    status, verdict = a_status(bad=True), a_verdict()
    write(tmp_path / "0001" / "execution0", a_session(), status, verdict)
    session = only(read())
    assert (session.run, session.id) == ("0001/execution0", session_id(1))
    assert session.status.onset == status.onset
    assert session.status.origin == status.origin
    assert session.trial == verdict
    assert session.damage == []
    assert not session.superseded


def test_the_newest_status_by_sequence_number_wins(tmp_path: Path, read: Read) -> None:
    # Written in the wrong order, as two files of a run may be read.
    write(tmp_path / "run", a_status(seq=2, steps=30))
    write(tmp_path / "run", a_status(seq=1, steps=20), a_status(seq=0, steps=10))
    assert only(read()).status.steps == 30


def test_several_sessions_live_in_one_run(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "run", a_status(1), a_verdict(1))
    write(tmp_path / "run", a_status(2))
    found = snapshot(read()).sessions
    assert [s.id for s in found] == [session_id(1), session_id(2)]
    assert [s.trial is not None for s in found] == [True, False]


def test_foreign_tags_under_our_plugin_name_are_left_alone(
    tmp_path: Path, read: Read
) -> None:
    event = event_pb2.Event.FromString(record_event(a_status(), 1.0))
    event.summary.value[0].tag = "someone/else"
    write_events(tmp_path / "run" / "events.out.tfevents.1.x", event.SerializeToString())
    assert snapshot(read()).sessions == []


# --- State --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, state", [(0, "running"), (29.9, "running"), (30.1, "interrupted")]
)
def test_interrupted_after_three_heartbeats(
    tmp_path: Path, read: Read, seconds: float, state: str
) -> None:
    write(tmp_path / "run", a_status(state="running", updated=STARTED, heartbeat=10.0))
    session = only(read(clock=lambda: STARTED + seconds))
    assert session.state == state
    assert any("end record" in d for d in session.damage) == (state == "interrupted")


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_run_that_ended_is_never_interrupted(
    tmp_path: Path, read: Read, state: str
) -> None:
    write(tmp_path / "run", a_status(state=state, updated=STARTED, heartbeat=10.0))
    session = only(read(clock=lambda: STARTED + 1e9))
    assert session.state == state
    assert session.damage == []


@pytest.mark.parametrize("heartbeat", [0.0, -1.0, math.nan, math.inf])
def test_a_nonsensical_heartbeat_counts_as_a_minute(
    tmp_path: Path, read: Read, heartbeat: float
) -> None:
    write(
        tmp_path / "run", a_status(state="running", updated=STARTED, heartbeat=heartbeat)
    )
    assert only(read(clock=lambda: STARTED + 179)).state == "running"
    assert only(read(clock=lambda: STARTED + 181)).state == "interrupted"


# --- Grouping -----------------------------------------------------------------------


def test_searches_that_reuse_run_names_stay_apart(tmp_path: Path, read: Read) -> None:
    run = tmp_path / "0001" / "execution0"
    write(run, a_status(1, trial_id="0001"), a_verdict(1, tuner_status="FAILED"))
    second = a_status(2, trial_id="0001", search=a_search(2))
    write(run, second, a_verdict(2, trial_id="0001", search_id="search-2"))
    first, later = snapshot(read()).sessions
    assert (first.search_id, later.search_id) == ("search-1", "search-2")
    assert not first.superseded and not later.superseded
    assert first.trial and first.trial.tuner_status == "FAILED"
    assert later.trial and later.trial.tuner_status == "COMPLETED"


@pytest.mark.parametrize("attempts", [(0, 1), (0, 0)], ids=["retry", "resumed"])
def test_a_later_session_of_the_same_execution_decides(
    tmp_path: Path, read: Read, attempts: tuple[int, int]
) -> None:
    run = tmp_path / "0001" / "execution0"
    write(run, a_status(1, trial_id="0001", attempt=attempts[0], bad=True))
    write(run, a_status(2, trial_id="0001", attempt=attempts[1]))
    earlier, later = snapshot(read()).sessions
    assert earlier.superseded
    assert not later.superseded


def test_a_second_fit_into_a_directory_is_a_run_of_its_own(
    tmp_path: Path, read: Read
) -> None:
    run = tmp_path / "run"
    plain = {"search": None, "trial_id": None}
    write(run, a_status(1, bad=True, **plain))
    write(run, a_status(2, **plain))
    # The same model, trained on: a part of the second.
    write(run, a_status(3, fit=1, continues=session_id(2), **plain))
    before, after, more = snapshot(read()).sessions
    assert not any(s.superseded or s.retry for s in (before, after, more))
    assert (before.name, after.name, more.name) == ("run", "run (run 2)", "run (run 2)")
    assert before.trial_key != after.trial_key == more.trial_key
    assert after.goes_on and not before.goes_on


def test_executions_do_not_supersede_each_other(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "0001" / "execution0", a_status(1, trial_id="0001"))
    write(tmp_path / "0001" / "execution1", a_status(2, trial_id="0001", execution=1))
    found = snapshot(read()).sessions
    assert [s.superseded for s in found] == [False, False]
    assert found[0].trial_key == found[1].trial_key


def test_a_retry_that_is_running_has_no_verdict_yet(tmp_path: Path, read: Read) -> None:
    run = tmp_path / "0001" / "execution0"
    write(run, a_status(1, trial_id="0001"), a_verdict(1, tuner_status="INVALID"))
    write(run, a_status(2, trial_id="0001", attempt=1, state="running"))
    earlier, later = snapshot(read()).sessions
    assert earlier.trial and earlier.trial.tuner_status == "INVALID"
    assert later.trial is None


def test_a_verdict_is_shared_by_the_trials_executions(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "0001" / "execution0", a_status(1, trial_id="0001"))
    write(
        tmp_path / "0001" / "execution1",
        a_status(2, trial_id="0001", execution=1),
        a_verdict(2, trial_id="0001"),
    )
    assert [s.trial is not None for s in snapshot(read()).sessions] == [True, True]


def test_a_trial_that_never_trained_is_unwatched(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "0001", a_verdict(tuner_status="FAILED", message="ValueError: x"))
    session = only(read())
    assert session.status.status == "unwatched"
    assert session.state == "failed"
    assert session.status.trial_id == "0001"
    assert session.status.error_message == "ValueError: x"


# --- Reading one run ----------------------------------------------------------------


def test_detail_reads_all_records_in_order(tmp_path: Path, read: Read) -> None:
    ranges = [a_ranges(1, i, [(i, i)]) for i in range(150)]
    write(tmp_path / "run", a_session(), *ranges, a_status(written={"ranges": 150}))
    reader = read()
    detail = reader.detail(CTX, "", only(reader), ("ranges", "session"))
    assert [r.seq for r in detail.records["ranges"]] == list(range(150))
    assert detail.records["session"][0].model == "mlp"
    assert detail.damage == []


def test_find_names_what_was_not_found(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "run", a_status())
    reader = read()
    assert reader.find(CTX, "", "run", session_id(1)).run == "run"
    for run, session in (("nor", session_id(1)), ("run", session_id(2))):
        with pytest.raises(NotFoundError, match=f"{session}.*{run}"):
            reader.find(CTX, "", run, session)


# --- Damage -------------------------------------------------------------------------


def write_events(path: Path, *events: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as f:
        records = RecordWriter(f)
        for event in events:
            records.write(event)


def edited(record: Any, edit: Callable[[list[bytes]], None]) -> bytes:
    """Returns the record's event with its tensor's elements edited."""
    event = event_pb2.Event.FromString(record_event(record, STARTED))
    elements = list(event.summary.value[0].tensor.string_val)
    edit(elements)
    event.summary.value[0].tensor.string_val[:] = elements
    return event.SerializeToString()


def newer(elements: list[bytes]) -> None:
    elements[0] = elements[0].replace(b'"v":1', b'"v":99')


def broken(elements: list[bytes]) -> None:
    elements[-1] = elements[-1][:-3] + b"\xff\x00\xff"


@pytest.mark.parametrize(
    "edit, words", [(newer, "upgrade tb-nanwatch"), (broken, "lane_skipped")]
)
def test_an_unreadable_status_is_one_warning_that_names_the_run(
    tmp_path: Path, read: Read, edit: Callable[[list[bytes]], None], words: str
) -> None:
    path = tmp_path / "bad" / "events.out.tfevents.1.x"
    write_events(path, edited(a_status(1), edit), record_event(a_session(1), STARTED))
    write(tmp_path / "good", a_status(2))
    found = snapshot(read())
    assert [s.run for s in found.sessions] == ["good"]
    (warning,) = found.warnings
    assert "'bad'" in warning
    assert words in warning


def test_an_older_status_stands_in_for_an_unreadable_one(
    tmp_path: Path, read: Read
) -> None:
    path = tmp_path / "run" / "events.out.tfevents.1.x"
    write_events(
        path,
        record_event(a_status(seq=0, steps=10), STARTED),
        edited(a_status(seq=1, steps=20), broken),
    )
    session = only(read())
    assert session.status.steps == 10
    assert any("older one is shown" in d for d in session.damage)


def test_records_without_a_status_are_told_of(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "run", a_session())
    found = snapshot(read())
    assert found.sessions == []
    (warning,) = found.warnings
    assert "'run'" in warning


def test_a_record_under_another_sessions_tag_is_refused(
    tmp_path: Path, read: Read
) -> None:
    event = event_pb2.Event.FromString(record_event(a_status(1), STARTED))
    event.summary.value[0].tag = metadata.make_tag(session_id(2), "status")
    write_events(tmp_path / "run" / "events.out.tfevents.1.x", event.SerializeToString())
    found = snapshot(read())
    assert found.sessions == []
    assert len(found.warnings) == 1


def test_missing_records_at_the_end_are_damage(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "run", an_events(1, 0, 0), a_status(written={"events": 3}))
    (damage,) = only(read()).damage
    assert "last 2 of 3 events records" in damage


def test_all_records_there_is_no_damage(tmp_path: Path, read: Read) -> None:
    records = [an_events(1, i, i) for i in range(3)]
    write(tmp_path / "run", *records, a_status(written={"events": 3}))
    assert only(read()).damage == []


def test_what_was_read_is_counted_beside_what_was_written(
    tmp_path: Path, read: Read
) -> None:
    # One status speaks of more than has come so far; the other run is whole.
    status = a_status(written={"events": 2, "session": 1})
    late = EventWriter(str(tmp_path / "late"), clock=lambda: STARTED)
    late.write(a_session(), an_events(1, 0, 0), status)
    write(tmp_path / "whole", an_events(2, 0, 0), a_status(2, written={"events": 1}))

    def counted() -> dict[str, tuple[int, int]]:
        return {s.run: (s.read, s.written) for s in snapshot(read()).sessions}

    assert counted() == {"late": (2, 3), "whole": (1, 1)}
    late.write(an_events(1, 1, 1))
    late.close()
    assert counted() == {"late": (3, 3), "whole": (1, 1)}


def test_a_gap_is_damage(tmp_path: Path, read: Read) -> None:
    records = [an_events(1, i, i) for i in (0, 1, 4)]
    write(tmp_path / "run", *records, a_status(written={"events": 5}))
    reader = read()
    detail = reader.detail(CTX, "", only(reader), ("events",))
    assert [r.seq for r in detail.records["events"]] == [0, 1, 4]
    (damage,) = detail.damage
    assert "2 of 5 events records are missing" in damage
    assert "number 2" in damage


def test_a_gap_without_a_later_status_is_damage_too(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "run", an_events(1, 0, 0), an_events(1, 2, 2), a_status())
    reader = read()
    detail = reader.detail(CTX, "", only(reader), ("events",))
    assert len(detail.damage) == 1


def test_duplicate_sequence_numbers_keep_the_later_record(
    tmp_path: Path, read: Read
) -> None:
    write(tmp_path / "run", an_events(1, 0, 7), an_events(1, 0, 8), a_status())
    reader = read()
    detail = reader.detail(CTX, "", only(reader), ("events",))
    (record,) = detail.records["events"]
    assert record.episodes[0].id == 8
    assert any("used before" in d for d in detail.damage)


def test_a_file_truncated_anywhere_shows_what_is_left(tmp_path: Path) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    records = [a_status(seq=0, steps=1), *(an_events(1, i, i) for i in range(4))]
    whole = write(tmp_path / "whole", *records).read_bytes()
    seen = set()
    for cut in range(0, len(whole), 97):
        folder = tmp_path / "cut" / str(cut)
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1.x").write_bytes(whole[:cut])
    reader = Reader(
        make_provider(str(tmp_path / "cut")), clock=lambda: STARTED, max_age=0
    )
    for session in snapshot(reader).sessions:
        detail = reader.detail(CTX, "", session, ("events",))
        found = [r.seq for r in detail.records["events"]]
        assert found == list(range(len(found)))
        seen.add(len(found))
    assert seen == {0, 1, 2, 3} or seen == {0, 1, 2, 3, 4}


def test_a_flipped_bit_never_raises_and_never_hides_another_run(
    tmp_path: Path, load: Callable[[Path], Loaded]
) -> None:
    logdir = tmp_path / "logs"
    records = (a_status(1, written={"events": 2}), an_events(1, 0, 0), an_events(1, 1, 1))
    whole = write(tmp_path / "whole", *records).read_bytes()
    for byte in range(60, len(whole), 41):
        folder = logdir / f"{byte:05d}"
        folder.mkdir(parents=True)
        flipped = bytearray(whole)
        flipped[byte] ^= 1 << (byte % 8)
        (folder / "events.out.tfevents.1.x").write_bytes(flipped)
    write(logdir / "good", a_status(2))
    loaded = load(logdir)
    reader = Reader(loaded.provider, clock=lambda: STARTED, max_age=0)
    loaded.wait(lambda: any(s.run == "good" for s in snapshot(reader).sessions))
    found = snapshot(reader)
    assert any(s.run == "good" for s in found.sessions)
    for session in found.sessions:
        reader.detail(CTX, "", session, ("events",))


def test_one_tensor_that_cannot_be_parsed_hides_no_other_run(
    tmp_path: Path, load: Callable[[Path], Loaded]
) -> None:
    event = event_pb2.Event.FromString(record_event(a_status(1), STARTED))
    dim = event.summary.value[0].tensor.tensor_shape.dim.add()
    dim.size = 12345  # more elements than there are
    write_events(tmp_path / "bad" / "events.out.tfevents.1.x", event.SerializeToString())
    for i in range(2, 6):
        write(tmp_path / f"good{i}", a_status(i))
    loaded = load(tmp_path)
    reader = Reader(loaded.provider, clock=lambda: STARTED, max_age=0)
    loaded.wait(lambda: len(snapshot(reader).sessions) == 4)
    found = snapshot(reader)
    assert [s.run for s in found.sessions] == [f"good{i}" for i in range(2, 6)]
    (warning,) = found.warnings
    assert "'bad'" in warning


# --- The cache ----------------------------------------------------------------------


class Counting:
    """A provider that counts the calls and the runs that are read."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider
        self.lists = 0
        self.runs_read: list[str] = []

    def list_tensors(self, *args: Any, **kwargs: Any) -> Any:
        self.lists += 1
        return self.provider.list_tensors(*args, **kwargs)

    def read_tensors(self, *args: Any, **kwargs: Any) -> Any:
        self.runs_read += sorted(kwargs["run_tag_filter"].runs)
        return self.provider.read_tensors(*args, **kwargs)


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    live = EventWriter(str(tmp_path / "live"))
    live.write(a_status(1, state="running", steps=1))
    write(tmp_path / "done", a_status(2))
    provider = Counting(make_provider(str(tmp_path)))
    reader = Reader(provider, clock=lambda: STARTED, max_age=0)
    first = snapshot(reader)
    assert provider.runs_read == ["done", "live"]
    assert snapshot(reader) is first
    assert provider.runs_read == ["done", "live"]

    live.write(a_status(1, seq=1, state="running", steps=2))
    provider.provider._multiplexer.Reload()
    second = snapshot(reader)
    assert second is not first
    assert provider.runs_read == ["done", "live", "live"]
    assert {s.run: s.status.steps for s in second.sessions} == {"live": 2, "done": 100}
    live.close()


def test_within_max_age_nothing_is_asked(tmp_path: Path) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    write(tmp_path / "run", a_status())
    provider = Counting(make_provider(str(tmp_path)))
    reader = Reader(provider, max_age=3600)
    first = snapshot(reader)
    asked = provider.lists
    assert snapshot(reader) is first
    assert provider.lists == asked
    reader.snapshot(CTX, "", max_age=0)
    assert provider.lists > asked


def test_a_snapshot_expires_with_the_heartbeat(tmp_path: Path) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    write(tmp_path / "run", a_status(state="running", updated=STARTED, heartbeat=10.0))
    now = STARTED
    reader = Reader(make_provider(str(tmp_path)), clock=lambda: now, max_age=3600)
    assert only(reader).state == "running"
    now += 31
    assert only(reader).state == "interrupted"


def test_a_deleted_run_goes(tmp_path: Path) -> None:
    class Provider:
        def __init__(self) -> None:
            self.runs = {"a", "b"}

        def list_tensors(self, *args: Any, plugin_name: str, **kwargs: Any) -> Any:
            if plugin_name != metadata.STATUS_PLUGIN_NAME:
                return {}
            series = dataclasses.make_dataclass("S", ["max_step", "max_wall_time"])(
                0, 1.0
            )
            tag = metadata.make_tag(session_id(1), "status")
            return {run: {tag: series} for run in self.runs}

        def read_tensors(self, *args: Any, run_tag_filter: Any, **kwargs: Any) -> Any:
            import numpy as np

            elements = np.array(codec.encode(a_status()), object)
            datum = dataclasses.make_dataclass("D", ["step", "wall_time", "numpy"])
            tag = metadata.make_tag(session_id(1), "status")
            return {run: {tag: [datum(0, 1.0, elements)]} for run in run_tag_filter.runs}

    provider = Provider()
    reader = Reader(provider, clock=lambda: STARTED, max_age=0)
    assert {s.run for s in snapshot(reader).sessions} == {"a", "b"}
    provider.runs.remove("a")
    assert {s.run for s in snapshot(reader).sessions} == {"b"}
