"""A run that is killed is seen soon, however long it had trained; one that lives, never."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from tensorboard.context import RequestContext

from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.record.schema import HeartbeatRecord
from tb_nanwatch.writing.log.environment import TrainingSetup
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.recording.recorder import Recorder
from tests.reading.records import STARTED, a_status, session_id, write
from tests.writing.logs import read_log

HOUR = 3600.0


class Clock:
    now = STARTED

    def __call__(self) -> float:
        return self.now


def train(path: Path, clock: Clock, seconds: float, every: float) -> TrainingLog:
    """Writes the log of a training that has gone on for so long and is then killed."""
    recorder = Recorder(clock=clock)
    session = TrainingLog(str(path), "run", recorder, TrainingSetup(), clock=clock)
    session.begin()
    while clock.now < STARTED + seconds:
        clock.now += every
        session.flush()
    return session


def state(path: Path, now: float) -> str:
    reader = Reader(make_provider(str(path)), clock=lambda: now)
    (session,) = reader.snapshot(RequestContext(), "").sessions
    return session.state


@pytest.mark.parametrize("hours", [0.01, 2, 50])
def test_a_killed_run_is_seen_within_minutes(hours: float, tmp_path: Path) -> None:
    clock = Clock()
    session = train(tmp_path, clock, hours * HOUR, every=5.0)
    assert state(tmp_path, clock.now) == "running"
    assert state(tmp_path, clock.now + 240) == "running"
    assert state(tmp_path, clock.now + 430) == "interrupted"
    log = read_log(tmp_path)
    # Signs of life are small, and there are none while the status itself is one.
    beats = log.all("heartbeat")
    assert (len(beats) > 0) == (hours > 1)
    assert [b.seq for b in beats] == list(range(len(beats)))
    assert len(beats) <= hours * 60
    signs = sorted(r.updated for r in [*beats, *log.all("status")])
    gaps = [b - a for a, b in itertools.pairwise(signs)]
    assert max(gaps) <= 150
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 100_000 + 22_000 * hours
    session.writer.close()


def test_a_run_that_reports_every_few_minutes_is_never_given_up(tmp_path: Path) -> None:
    clock = Clock()
    session = train(tmp_path, clock, 5 * HOUR, every=300.0)
    for _ in range(10):
        assert state(tmp_path, clock.now + 299) == "running"
        clock.now += 300
        session.flush()
    session.end("finished")
    assert state(tmp_path, clock.now + 1e6) == "finished"
    session.writer.close()


@pytest.mark.parametrize("beat", [-1e9, 0.0, 1e3])
def test_the_newest_sign_of_life_counts(beat: float, tmp_path: Path, read: Any) -> None:
    running = a_status(state="running", updated=STARTED, heartbeat=10.0)
    record = HeartbeatRecord(session_id(1), 0, updated=STARTED + beat, heartbeat=10.0)
    write(tmp_path / "run", running, record)
    end = STARTED + max(beat, 0) + 30
    assert state(tmp_path, end - 1) == "running"
    assert state(tmp_path, end + 1) == "interrupted"
