"""Trainings killed at any moment: what was flushed is read, by both loaders."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest

from tb_nanwatch.reading.log.reader import Reader
from tests.hostile.conftest import FULL, Tally
from tests.hostile.victim import BATCHES, CONTAINED, ONSET
from tests.reading.records import CTX, LOADERS

ROOT = Path(__file__).parents[2]
TITLE = "trainings killed at a random moment"
KILLS = 50 if FULL else 8
KINDS = ("session", "events", "ranges", "flight")
# Pause after a call in seconds, and steps of a call: quick ones, slow ones (fewer than
# two a second), long executions.
PACES = ((0.005, 1), (0.05, 20), (0.6, 20))


class Template:
    """The process whose forks are trained and killed."""

    def __init__(self, errors: IO[str]) -> None:
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.victim"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def _line(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def start(self, job: dict[str, Any]) -> int:
        """Returns the pid of the job's process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._line()

    def wait(self) -> int:
        """Returns the exit code of the job's process."""
        return self._line()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@dataclass
class Kill:
    """One training that was killed, and when each of its steps was done."""

    run: str
    at: float
    done: list[tuple[int, float]]
    execution: float

    def old(self, step: int) -> bool:
        """Whether `step` was done longer ago than a second and one execution."""
        ends = [t for n, t in self.done if n > step]
        return bool(ends) and self.at - ends[0] > 1.0 + self.execution


def ticks(path: Path) -> list[tuple[int, float]]:
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [(int(n), float(t)) for n, t in lines]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with (tmp_path_factory.mktemp("victim") / "errors").open("w+") as errors:
        started = Template(errors)
        yield started
        started.close()


@pytest.fixture(scope="module")
def killed(
    template: Template, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Kill]]:
    root = tmp_path_factory.mktemp("killed")
    r = random.Random(11)
    kills = []
    for i in range(KILLS):
        pause, steps = PACES[i % len(PACES)]
        run = f"run{i:02d}"
        path = root / f"{run}.ticks"
        pid = template.start(
            {
                "logs": str(root / "logs" / run),
                "ticks": str(path),
                "pause": pause,
                "steps_per_execution": steps,
                "epochs": 1000,
                "backup": None,
            }
        )
        # Before, at and after the onset; the first call traces and takes a second.
        await_step(path, 1)
        calls = ONSET / steps + 1
        time.sleep(r.choice((0.0, 0.5, 1.0, 1.0, 1.0)) * calls * pause)
        time.sleep(r.choice((0.0, r.random(), 1.2 + r.random())))
        while i == 0 and not killed_now(run, path).old(ONSET):
            time.sleep(0.1)  # one of them is old, however busy the machine is
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        assert template.wait() == -signal.SIGKILL
        kills.append(killed_now(run, path, at))
    return root / "logs", kills


def killed_now(run: str, path: Path, at: float | None = None) -> Kill:
    """Returns the kill of a training as of `at`, or of this moment."""
    at = time.monotonic() if at is None else at
    done = ticks(path)
    longest = max((b[1] - a[1] for a, b in pairwise(done)), default=0.0)
    return Kill(run, at, [d for d in done if d[1] < at], longest)


def await_step(path: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while not any(n >= step for n, _ in ticks(path)):
        assert time.monotonic() < deadline, "the training did not begin"
        time.sleep(0.01)


@pytest.mark.parametrize("loader", sorted(LOADERS))
def test_what_was_flushed_is_read(
    loader: str, killed: tuple[Path, list[Kill]], tally: Tally
) -> None:
    logdir, kills = killed
    loaded = LOADERS[loader](logdir)
    now = time.time() + 3600
    reader = Reader(loaded.provider, clock=lambda: now, max_age=0)
    try:
        assert loaded.wait(lambda: len(reader.snapshot(CTX, "").sessions) == len(kills))
        found = {s.run: s for s in reader.snapshot(CTX, "").sessions}
        old = 0
        for kill in kills:
            session = found[kill.run]
            assert session.status.state == "running"
            assert session.state == "interrupted"
            (damage,) = session.damage
            assert "ends without an end record" in damage
            detail = reader.detail(CTX, "", session, KINDS)
            assert detail.damage == [], kill.run
            episodes = {e.id: e for r in detail.records["events"] for e in r.episodes}
            starts = [episodes[i].start.step for i in sorted(episodes)]
            # Nothing that was not, and everything that is old enough, at its step.
            assert starts[:2] == [CONTAINED, ONSET][: len(starts)], kill.run
            assert len(starts) >= kill.old(CONTAINED) + kill.old(ONSET), kill.run
            if kill.old(ONSET):
                old += 1
                onset = session.status.onset
                assert session.status.status == "diverged"
                assert onset is not None and onset.step == ONSET
                origin = session.status.origin
                assert origin is not None
                assert (origin.kind, origin.num_nan) == ("label", 1)
            elif not starts:
                assert session.status.status == "clean"
        # The moments are spread: some onsets were old, and some had not been yet.
        assert 0 < old < len(kills)
    finally:
        loaded.close()
    tally.add(TITLE, len(kills) if loader == "python" else 0)


def test_a_resumed_run_appends(template: Template, tmp_path: Path, tally: Tally) -> None:
    """Killed in its third epoch, taken up by BackupAndRestore, and finished."""
    job = {
        "logs": str(tmp_path / "logs" / "run"),
        "ticks": str(tmp_path / "ticks"),
        "pause": 0.01,
        "steps_per_execution": 1,
        "epochs": 4,
        "backup": str(tmp_path / "backup"),
    }
    pid = template.start(job)
    await_step(tmp_path / "ticks", 2 * BATCHES + 50)
    time.sleep(1.2)  # what is older than a second is never missing
    os.kill(pid, signal.SIGKILL)
    assert template.wait() == -signal.SIGKILL
    (first,) = (tmp_path / "logs" / "run").iterdir()
    before = first.read_bytes()
    template.start(job)
    assert template.wait() == 0
    assert first.read_bytes() == before
    for loader in LOADERS:
        assert_both_sessions(loader, tmp_path / "logs")
    tally.add("killed trainings that are resumed", 1)


def assert_both_sessions(loader: str, logdir: Path) -> None:
    loaded = LOADERS[loader](logdir)
    now = time.time() + 3600
    reader = Reader(loaded.provider, clock=lambda: now, max_age=0)
    try:
        loaded.wait(lambda: len(reader.snapshot(CTX, "").sessions) == 2)
        earlier, later = reader.snapshot(CTX, "").sessions
        assert (earlier.state, later.state) == ("interrupted", "finished")
        assert BATCHES < earlier.status.steps < 4 * BATCHES
        assert (later.status.steps, later.status.epochs) == (2 * BATCHES, 4)
        # The last second before the kill may be missing.
        for session, epochs in ((earlier, [0, 1]), (later, [2, 3])):
            detail = reader.detail(CTX, "", session, KINDS)
            assert detail.damage == []
            found = {e.id: e for r in detail.records["events"] for e in r.episodes}
            places = [(e.start.epoch, e.start.batch) for e in found.values()]
            assert places[:2] == [(epoch, CONTAINED) for epoch in epochs]
    finally:
        loaded.close()
