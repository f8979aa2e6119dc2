"""Nothing is lost to either of TensorBoard's loaders, with default flags."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.record.schema import Episode, EventsRecord, Position, RangesRecord
from tb_nanwatch.writing.log.summary import EventWriter
from tests.reading.records import (
    CTX,
    Loaded,
    a_bad_tensor,
    a_ranges,
    a_session,
    a_status,
    session_id,
    write,
)

Load = Callable[[Path], Loaded]

STEPS = 5_000
EPISODES = 300
KINDS = ("ranges", "events")


def bad_steps() -> list[int]:
    return [i * STEPS // EPISODES for i in range(EPISODES)]


def an_episode(index: int, step: int) -> Episode:
    tensors = [a_bad_tensor(num_nan=index + 1)]
    return Episode(
        index, Position("train", step, 0, step), step, "contained", tensors, [0]
    )


def a_long_run() -> tuple[list[EventsRecord], list[RangesRecord]]:
    """One events record an episode, one ranges record for each 5 steps."""
    events = [
        EventsRecord(session_id(1), i, episodes=[an_episode(i, step)])
        for i, step in enumerate(bad_steps())
    ]
    ranges = []
    bad = set(bad_steps())
    for seq in range(STEPS // 5):
        first = 5 * seq
        record = a_ranges(1, seq, [(first + i, first + i) for i in range(5)])
        for i in range(5):
            record.bad_steps[i, 0] = first + i in bad
        ranges.append(record)
    return events, ranges


def test_every_one_of_300_episodes_in_5000_steps_is_read_back(
    tmp_path: Path, load: Load
) -> None:
    events, ranges = a_long_run()
    written = {"events": len(events), "ranges": len(ranges)}
    write(
        tmp_path / "run",
        a_session(),
        *events,
        *ranges,
        # Far more status records than TensorBoard keeps of one tag by default.
        *(a_status(seq=i, steps=i) for i in range(200)),
        a_status(seq=200, steps=STEPS, written=written),
    )
    loaded = load(tmp_path)
    reader = Reader(loaded.provider, max_age=0)

    def complete() -> bool:
        found = reader.snapshot(CTX, "").sessions
        return bool(found) and found[0].status.steps == STEPS and not found[0].damage

    assert loaded.wait(complete)
    (session,) = reader.snapshot(CTX, "").sessions
    detail = reader.detail(CTX, "", session, KINDS)
    assert detail.damage == []
    found = [e for record in detail.records["events"] for e in record.episodes]
    assert found == [an_episode(i, step) for i, step in enumerate(bad_steps())]
    marked = [
        int(first)
        for record in detail.records["ranges"]
        for (first, _), bad in zip(record.steps, record.bad_steps[:, 0], strict=True)
        if bad
    ]
    assert marked == bad_steps()


def test_a_run_grows_while_another_writer_shares_its_directory(
    tmp_path: Path, load: Load
) -> None:
    """The other writer's file is the newer one, so that only it would be polled."""
    ours = EventWriter(str(tmp_path / "run"))
    ours.write(a_session(), an_events_record(0), a_status(state="running", steps=0))
    loaded = load(tmp_path)
    reader = Reader(loaded.provider, max_age=0)

    def steps() -> int:
        found = reader.snapshot(CTX, "").sessions
        return found[0].status.steps if found else -1

    assert loaded.wait(lambda: steps() == 0)
    # Sorts behind our file, and is newer.
    other = tmp_path / "run" / f"events.out.tfevents.{int(time.time()) + 60}.zzz"
    with other.open("wb") as f:
        records = RecordWriter(f)
        for seq in range(1, 40):
            records.write(scalar_event(seq))
            f.flush()
            ours.write(
                an_events_record(seq),
                a_status(
                    seq=seq, state="running", steps=seq, written={"events": seq + 1}
                ),
            )
            if seq % 10 == 0:
                loaded.reload()
        ours.close()
        assert loaded.wait(lambda: steps() == 39)
    (session,) = reader.snapshot(CTX, "").sessions
    detail = reader.detail(CTX, "", session, ("events",))
    assert [r.seq for r in detail.records["events"]] == list(range(40))
    assert detail.damage == []


def test_two_sessions_of_one_run_lose_nothing_to_each_other(
    tmp_path: Path, load: Load
) -> None:
    """The second begins again at sequence number 0, after the first reached 50."""
    for number in (1, 2):
        records = [an_events_record(i, number) for i in range(50)]
        write(tmp_path / "run", *records, a_status(number, written={"events": 50}))
    loaded = load(tmp_path)
    reader = Reader(loaded.provider, max_age=0)
    assert loaded.wait(lambda: len(reader.snapshot(CTX, "").sessions) == 2)
    for session in reader.snapshot(CTX, "").sessions:
        detail = reader.detail(CTX, "", session, ("events",))
        assert [r.seq for r in detail.records["events"]] == list(range(50))
        assert detail.damage == []


def an_events_record(seq: int, number: int = 1) -> EventsRecord:
    return EventsRecord(session_id(number), seq, episodes=[an_episode(seq, seq)])


def scalar_event(step: int) -> bytes:
    value = summary_pb2.Summary.Value(tag="epoch_loss", simple_value=1.0)
    event = event_pb2.Event(wall_time=time.time(), step=step)
    event.summary.value.append(value)
    return event.SerializeToString()
