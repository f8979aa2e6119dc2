"""KerasTuner's own distributed search: a chief and two workers, one log directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.workers import Processes, listens
from tests.tuner.searches import overview

WORKERS = ("tuner0", "tuner1")
MODULE = "tests.tuner.worker"


def run_search(path: Path, limit: int) -> tuple[dict[str, Any], list[str]]:
    """Returns the report and what the workers printed."""
    with Processes(MODULE, path) as processes:
        processes.start("chief", limit)
        workers = [processes.start(name, limit) for name in WORKERS]
        # The chief notices the end up to 20 seconds later: nothing to wait for.
        for worker in workers:
            worker.end(240)
        return overview(path / "log"), [worker.printed for worker in workers]


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


def run_staggered(path: Path, how: str) -> None:
    """A worker starts when another has ended a trial, and deletes the project.

    One at a time: KerasTuner fails where two processes delete one project, or where
    one writes into what another deletes.
    """
    for left in (*path.glob("*.rests"), *path.glob("*.ready")):
        left.unlink()
    with Processes(MODULE, path) as processes:
        chief = processes.start("chief", how)
        chief.until(lambda: listens(processes.port))
        first = processes.start("tuner0", how)
        first.until((path / "tuner0.rests").exists)
        second = processes.start("tuner1", how)
        for worker in (first, second):
            assert worker.end(240) == 0, worker.printed


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
