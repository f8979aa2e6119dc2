"""KerasTuner's own distributed search: a chief and two workers, one log directory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.searches import overview

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("tuner0", "tuner1")


def start(name: str, port: int, path: Path, limit: int) -> subprocess.Popen[str]:
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
        [sys.executable, "-m", "tests.tuner.worker", str(path), str(limit)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def processes(path: Path, limit: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts a chief and its workers, and ends what is left of them."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
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
    assert "max_consecutive_failed_trials=10" in aborted["fix"]
