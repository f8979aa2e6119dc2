"""The demo's programs run alone, and a second run starts new searches beside the old."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[2] / "demo"


def run(program: str, home: Path, invocation: str) -> str:
    done = subprocess.run(
        [sys.executable, home / "demo" / program],
        cwd=home,
        env={**os.environ, "DEMO_INVOCATION": invocation},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def report(logs: Path) -> Any:
    command = Path(sys.executable).with_name("tb-nanwatch")
    done = subprocess.run(
        [command, "report", logs, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the programs: they log beside themselves."""
    ignored = shutil.ignore_patterns("logs", "tuners", "__pycache__")
    shutil.copytree(DEMO, tmp_path / "demo", ignore=ignored)
    return tmp_path


def test_zeros_among_the_labels_end_the_search_and_a_second_run_is_new(
    home: Path,
) -> None:
    for invocation in ("first", "second"):
        said = run("03_custom_loss.py", home, invocation)
        assert "Number of consecutive failures exceeded the limit of 3." in said
        assert "NaN Watch: 2/execution0 went bad at epoch 1, batch " in said

    found = report(home / "demo" / "logs")
    assert len({search["search"] for search in found["searches"]}) == 2
    assert [search["trials"] for search in found["searches"]] == [3, 3]
    assert all(search["aborted"] for search in found["searches"])
    assert len(found["runs"]) == 6
    for trial in found["runs"]:
        assert trial["status"] == "diverged"
        assert trial["onset"]["epoch"] == 0


def test_the_training_that_works_is_clean(home: Path) -> None:
    said = run("05_plain_training.py", home, "only")
    assert "went bad" not in said
    (only,) = report(home / "demo" / "logs")["runs"]
    assert only["status"] == "clean"
    assert only["state"] == "finished"
    assert only["hparams"] == {"units": 64, "learning_rate": 1e-3}
