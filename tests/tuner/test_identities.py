"""Workers that delete the project each when they start agree on the search all the same."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.writing import identities


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
