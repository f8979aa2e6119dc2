"""Workers that delete the project each when they start agree on the search all the same."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import keras
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.search import identities
from tests.tuner.searches import linear, make, overview, search
from tests.writing.logs import read_log


class Tuner:
    """What is asked of KerasTuner's; on a worker the oracle is a client."""

    def __init__(self, path: Path, worker: bool = True, overwrite: bool = True) -> None:
        self.project_dir = str(path / "project")
        self.oracle: Any = type("Oracle", (), {})()
        if worker:
            self.oracle._oracle = object()
        if overwrite:  # as BaseTuner does
            shutil.rmtree(self.project_dir, ignore_errors=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "_CHECK_SECONDS", 0.0)
    monkeypatch.setattr(identities, "WAIT_SECONDS", 2.0)


def test_a_worker_that_starts_late_joins_the_search(tmp_path: Path) -> None:
    early = Tuner(tmp_path)
    mine = identities.of(early)
    late = Tuner(tmp_path)  # deletes the file
    stop = threading.Event()

    def train() -> None:
        while not stop.is_set():
            identities.of(early)
            time.sleep(0.02)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert identities.of(late, waits=True) == mine
    finally:
        stop.set()
        thread.join()


def test_where_both_made_one_the_older_is_taken_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "WAIT_SECONDS", 0.0)
    early = Tuner(tmp_path)
    mine = identities.of(early)
    late = Tuner(tmp_path)
    assert identities.of(late, waits=True) != mine  # the other did not stir in time
    assert identities.of(early) == mine
    assert identities.of(late) == mine
    assert identities.of(Tuner(tmp_path, overwrite=False)) == mine  # and a third


@pytest.mark.parametrize("worker", [False, True])
def test_a_search_run_again_with_overwrite_is_a_new_one(
    worker: bool, tmp_path: Path
) -> None:
    first = identities.of(Tuner(tmp_path, worker))
    resumed = identities.of(Tuner(tmp_path, worker, overwrite=False), waits=True)
    assert resumed == first
    assert identities.of(Tuner(tmp_path, worker)) != first


def test_a_search_keeps_its_identity_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    tuner = Tuner(tmp_path, worker=False)
    mine = identities.of(tuner)
    shutil.rmtree(tuner.project_dir)
    assert identities.of(tuner) == mine


def test_trials_that_have_ended_are_told_of_an_older_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late worker's trials ended before the others looked after the file."""
    monkeypatch.setattr(identities, "_CHECK_SECONDS", float("inf"))
    monkeypatch.setattr(identities, "is_shared", lambda tuner: True)
    file = tmp_path / "tuner" / "project" / "nanwatch_search.json"

    class Other(keras.callbacks.Callback):
        """Another worker, older, that looks after the file during trial 2."""

        def on_train_begin(self, logs: Any = None) -> None:
            if (tmp_path / "log" / "1").exists():
                file.write_text(json.dumps({"id": "older", "started": 1.0}))

    def build(hp: Any) -> Any:
        rate = hp.Choice("rate", [0.01, 0.02, 0.03])
        if (tmp_path / "log" / "0").exists() and not (tmp_path / "log" / "1").exists():
            raise ValueError("no model of trial 1")
        return linear(rate)

    tuner = make("RandomSearch", build, tmp_path, max_trials=3)
    search(tuner, NanWatch(tmp_path / "log"), Other())
    full = overview(tmp_path / "log")
    assert [s["search"] for s in full["searches"]] == ["older"]
    assert sorted(r["run"] for r in full["runs"]) == [f"{i}/execution0" for i in range(3)]
    assert [r["state"] for r in full["runs"]].count("failed") == 1
    before = {s.search.id for s in read_log(tmp_path / "log/0/execution0").all("status")}
    assert len(before) == 2  # it had one of its own


def test_no_one_is_told_where_the_identity_stays(tmp_path: Path) -> None:
    tuner, told = Tuner(tmp_path), []
    mine = identities.of(tuner)
    identities.when_settled(tuner, told.append)
    shutil.rmtree(tuner.project_dir)
    assert identities.of(tuner, now=True) == mine and told == []
    alone = Tuner(tmp_path, worker=False)
    identities.of(alone)
    identities.when_settled(alone, told.append)
    (tmp_path / "project" / "nanwatch_search.json").write_text(
        json.dumps({"id": "older", "started": 1.0})
    )
    assert identities.of(alone, now=True)[0] != "older" and told == []
    assert identities.of(tuner, now=True) == ("older", 1.0) == told.pop()
