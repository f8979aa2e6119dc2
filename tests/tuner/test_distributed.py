"""KerasTuner's own distributed search: a chief and two workers, one log directory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.searches import overview

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("tuner0", "tuner1")


def start(
    name: str, port: int, path: Path, *how: int | str, module: str = "tests.tuner.worker"
) -> subprocess.Popen[str]:
    environment = os.environ | {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        # Each process at most one core: there may be no more than two.
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, str(path), *map(str, how)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


@contextmanager
def processes(path: Path, limit: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts a chief and its workers, and ends what is left of them."""
    port = free_port()
    started = [start(name, port, path, limit) for name in ("chief", *WORKERS)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def run_search(path: Path, limit: int) -> tuple[dict[str, Any], list[str]]:
    """Returns the report and what the workers printed."""
    with processes(path, limit) as (_, *workers):
        # The chief notices the end up to 20 seconds later: nothing to wait for.
        printed = [w.communicate(timeout=240)[0] for w in workers]
    return overview(path / "log"), printed


@pytest.mark.slow
def test_every_trial_appears_once_with_its_worker_and_verdict(tmp_path: Path) -> None:
    full, printed = run_search(tmp_path, limit=4)
    (entry,) = full["searches"]  # one identity
    assert entry["aborted"] is None, printed
    assert (entry["name"], entry["tuner"], entry["objective"]) == (
        *("project", "RandomSearch", "val_loss"),
    )
    runs = full["runs"]
    assert sorted(r["run"] for r in runs) == [f"{i}/execution0" for i in range(6)]
    assert entry["trials"] == 6
    assert {r["worker"] for r in runs} == set(WORKERS)
    for run in runs:
        bad = run["hparams"]["rate"] > 1
        assert run["number"] == int(run["trial_id"]) + 1
        assert run["state"] == "finished" and not run["superseded"]
        assert run["status"] == ("diverged" if bad else "clean")
        assert run["tuner_status"] == ("FAILED" if bad else "COMPLETED")
        assert (run["score"] in (None, "NaN")) == bad
        assert (run["onset"] is not None) == bad
        assert run["steps"] == 16
    # What to set is said by each worker in its own terminal, once.
    for text in printed:
        assert text.count("max_consecutive_failed_trials=") == 1


@pytest.mark.slow
def test_an_abort_by_the_chief_is_seen(tmp_path: Path) -> None:
    full, printed = run_search(tmp_path, limit=2)
    (entry,) = full["searches"]
    aborted = entry["aborted"]
    assert aborted is not None, printed
    assert "Number of consecutive failures exceeded the limit of 2" in aborted["message"]
    # In words, without the channel's state around it.
    assert "grpc_status" not in aborted["message"]
    assert len(aborted["trials"]) == len(aborted["reasons"]) == 2
    assert all(r.startswith("diverged at epoch") for r in aborted["reasons"])
    # No more than the search has trials.
    assert "max_consecutive_failed_trials=4" in aborted["fix"]


def until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for something that the process brings about."""
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline, process.args
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def run_staggered(path: Path, how: str) -> None:
    """A worker starts when another has ended a trial, and deletes the project.

    One at a time: KerasTuner fails where two processes delete one project, or where
    one writes into what another deletes.
    """
    port = free_port()
    for left in path.glob("tuner*.*"):
        left.unlink()
    started = []
    try:
        started.append(start("chief", port, path, how))
        until(lambda: listens(port), started[-1])
        started.append(start("tuner0", port, path, how))
        until((path / "tuner0.rests").exists, started[-1])
        started.append(start("tuner1", port, path, how))
        for worker in started[1:]:
            printed = worker.communicate(timeout=240)[0]
            assert worker.returncode == 0, printed
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_workers_that_start_one_after_the_other_share_a_search(tmp_path: Path) -> None:
    """Each with `overwrite=True`; run again, it is another search."""
    run_staggered(tmp_path, "staggered hastily")
    (first,) = overview(tmp_path / "log")["searches"]
    run_staggered(tmp_path, "staggered")
    full = overview(tmp_path / "log")
    assert len({s["search"] for s in full["searches"]}) == 2
    for search in full["searches"]:
        assert search["trials"] == 6
        runs = [r for r in full["runs"] if r["search"] == search["search"]]
        assert sorted(r["run"] for r in runs) == [f"{i}/execution0" for i in range(6)]
        assert {r["worker"] for r in runs} == set(WORKERS)
        assert all(r["state"] == "finished" for r in runs)
    assert first["search"] in {s["search"] for s in full["searches"]}
