"""Hyperband's brackets and rounds, and the trials that go on with others' weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.report import terminal
from tests.support.told import as_overview
from tests.tuner.searches import make, overview, search, with_rates

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


def run_search(
    path: Path, *rates: float, max_epochs: int, factor: int
) -> tuple[dict[str, Any], Any]:
    tuner = make(
        "Hyperband", with_rates(*rates), path, max_epochs=max_epochs, factor=factor
    )
    search(tuner, NanWatch(path / "log", experiments=0), batch_size=64)
    return overview(path / "log"), tuner.oracle.trials


def printed(full: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    return " ".join(out.getvalue().split())


def test_continuations_are_shown_as_what_they_are(tmp_path: Path) -> None:
    full, trials = run_search(
        tmp_path, *[0.01 * i for i in range(1, 13)], max_epochs=3, factor=3
    )
    going_on = 0
    for run in full["runs"]:
        values = trials[run["trial_id"]].hyperparameters.values
        lineage = run["lineage"]
        assert lineage == {
            "trial_id": values.get("tuner/trial_id"),
            "initial_epoch": values["tuner/initial_epoch"],
            "epochs": values["tuner/epochs"],
            "bracket": values["tuner/bracket"],
            "round": values["tuner/round"],
        }
        assert run["epochs"] == lineage["epochs"]  # counted on, as Keras counts
        assert list(run["hparams"]) == ["rate"] and run["inactive"] == []
        assert (run["status"], run["inherited"], run["misread"]) == ("clean", None, None)
        if lineage["trial_id"] is not None:
            going_on += 1
            assert f"continues Trial #{int(lineage['trial_id']) + 1}" in printed(full)
    assert going_on > 0
    (entry,) = full["searches"]
    assert [h["name"] for h in entry["hparams"]] == ["rate"]
    assert "tuner/" not in printed(full)
    assert "bracket 1 round 1, continues " in printed(full)
    assert "its weights come from" not in printed(full)


def test_weights_from_a_trial_that_had_gone_bad(tmp_path: Path) -> None:
    # One step an epoch: finite in the first epoch, and scored by it. All trials are
    # alike, so that some are promoted after their second one.
    full, _ = run_search(
        tmp_path, *[1e12 * i for i in range(1, 13)], max_epochs=4, factor=2
    )
    status = {r["trial_id"]: r["status"] for r in full["runs"]}
    children = [r for r in full["runs"] if r["lineage"]["trial_id"] is not None]
    inherited = [r for r in children if r["inherited"] is not None]
    for run in children:
        parent = status[run["lineage"]["trial_id"]]
        expected = parent if parent in ("score_lost", "runaway", "diverged") else None
        assert run["inherited"] == expected
    assert inherited, status
    for run in inherited:
        bad = run["inherited"].replace("_", " ")
        assert (
            f"its weights come from Trial #{int(run['lineage']['trial_id']) + 1}, which "
            f"had gone bad ({bad})." in printed(full)
        )
    # They came blown up, whereas those before them were driven by their own rate, in
    # validation as in training.
    bad_runs = [r for r in full["runs"] if r["causes"]]
    phases = {r["onset"]["phase"] for r in bad_runs if not r["inherited"]}
    assert phases == {"train", "validation"}
    for run in bad_runs:
        first = run["causes"][0]
        assert first["id"] == ("inherited" if run["inherited"] else "learning_rate"), run
        assert ("gone bad" in " ".join(first["evidence"])) == bool(run["inherited"])
    assert any(r["inherited"] for r in bad_runs)
    # A trial and what goes on with it are one: its cause is where it went bad first.
    assert "inherited" not in full["searches"][0]["verdict"]
    # KerasTuner counts a continuation's epochs from 0, the report from its first one.
    for run in children:
        if run["misread"] == "stale_score":
            epoch = run["lineage"]["initial_epoch"] + run["best_step"]
            assert f"that of epoch {epoch + 1};" in run["misread_text"]
            assert epoch < run["onset"]["epoch"]
