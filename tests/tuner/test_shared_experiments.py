"""Trials of a search that went bad alike share the time for experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.search.verdict import TunerState
from tests.tuner.searches import make, overview, search, with_rates

# KerasTuner's own, where an objective was NaN in every epoch.
pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


def post_mortems(path: Path, *rates: float) -> list[dict[str, Any]]:
    """Searches through the rates and returns the trials' post-mortems, in order."""
    tuner = make("GridSearch", with_rates(*rates), path, max_trials=len(rates))
    search(tuner, NanWatch(path / "log"))
    runs = sorted(overview(path / "log")["runs"], key=lambda run: run["run"])
    assert [run["status"] for run in runs] == ["diverged"] * len(rates)
    return [run["postmortem"] for run in runs]


def tried(found: dict[str, Any]) -> list[str]:
    return [e["change"] for e in found["experiments"]]


def test_what_helped_one_trial_is_all_that_is_tried_on_those_alike(
    tmp_path: Path,
) -> None:
    first, *others = post_mortems(tmp_path, 100.0, 110.0, 120.0)
    kept = [
        e
        for e in first["experiments"]
        if e["change"].startswith("learning_rate/") and e["learns"]
    ]
    assert kept and len(first["experiments"]) > 5
    best = max(e["value"] for e in kept)
    for found in others:
        control, *changes = found["experiments"]
        assert control["change"] == "unchanged" and not control["finite"]
        rates = [e for e in changes if e["change"].startswith("learning_rate/")]
        assert (
            len(rates) == 1
            and rates[0]["learns"]
            and rates[0]["value"] == pytest.approx(best, rel=0.05)
        )
        assert changes == rates
        assert found["seconds"] < first["seconds"] and found["untried"] == ""


def test_a_trial_that_got_no_time_says_what_came_out_on_one_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([10.0, 0.0])
    monkeypatch.setattr(TunerState, "seconds_to_try", lambda self, least: next(seconds))
    first, second = post_mortems(tmp_path, 100.0, 110.0)
    assert tried(first)[0] == "unchanged" and first["untried"] == ""
    assert tried(second) == []
    assert second["untried"].startswith(
        "the time for experiments is spent; Trial #1, which went bad alike, "
        "stayed finite with the learning rate divided by "
    )
