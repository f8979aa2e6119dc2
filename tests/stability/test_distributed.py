"""KerasTuner's own distributed search: a chief and two workers look for one frontier."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuner.searches import overview
from tests.tuner.test_distributed import free_port, start

NAMES = ("chief", "tuner0", "tuner1")


@pytest.mark.slow
def test_the_chief_tells_and_logs_what_the_workers_tried(tmp_path: Path) -> None:
    port = free_port()
    module = "tests.stability.worker"
    processes = [start(name, port, tmp_path, module=module) for name in NAMES]
    try:
        chief, *workers = [p.communicate(timeout=300)[0] for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [p.returncode for p in processes] == [0, 0, 0], (chief, workers)
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
