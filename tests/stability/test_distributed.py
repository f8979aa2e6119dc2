"""KerasTuner's own distributed search: a chief and two workers look for one frontier."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.workers import Processes
from tests.tuner.searches import overview

NAMES = ("chief", "tuner0", "tuner1")


@pytest.mark.slow
def test_the_chief_tells_and_logs_what_the_workers_tried(tmp_path: Path) -> None:
    with Processes("tests.stability.worker", tmp_path) as processes:
        started = [processes.start(name) for name in NAMES]
        assert [p.end(300) for p in started] == [0, 0, 0], [p.printed for p in started]
    chief, *workers = [p.printed for p in started]
    assert "of 5 short trials went bad" in chief and "rate lives up to" in chief
    for said in workers:
        for asked in ("report", "stable_space", "stable_code"):
            assert f"{asked}: a worker of a distributed search does not know" in said
    full = overview(tmp_path / "log")
    (search,) = full["searches"]
    assert search["purpose"] == "stability" and search["trials"] == 5
    assert search["frontier"]["trials"] == 5 and 0 < search["frontier"]["bad"] < 5
    assert {r["worker"] for r in full["runs"]} <= {"tuner0", "tuner1"}
    assert [r["score"] for r in full["runs"]] == [None] * 5
