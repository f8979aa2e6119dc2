"""What `on_nonfinite` does to a search of each tuner, and what the user is told."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import pytest

from tb_nanwatch import NanWatch
from tests.support.share import by_turns
from tests.tuner.searches import (
    TUNERS,
    bad,
    good,
    linear,
    make,
    overview,
    run_of,
    search,
    with_rates,
)

# KerasTuner's own, where an objective was NaN in every epoch.
pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
MODES = ("record", "stop", "fail", "raise")
STEPS = 32  # of an epoch


def runs(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = overview(path / "log")["runs"]
    assert found
    return found


@pytest.mark.parametrize(("name", "mode"), by_turns((name, MODES) for name in TUNERS))
def test_a_bad_trial(name: str, mode: Any, tmp_path: Path) -> None:
    # Hyperband has no limit of trials; it runs two.
    more = {} if name == "Hyperband" else {"max_trials": 1}
    tuner = make(name, bad, tmp_path, **more)
    search(tuner, NanWatch(tmp_path / "log", on_nonfinite=mode, experiments=0))
    for run in runs(tmp_path):
        assert run["onset"] and run["onset"]["step"] < STEPS
        assert run["tuner_status"] == "FAILED"
        message = (run["message"] or "").strip()
        overshoot = run["steps"] - run["onset"]["step"] - 1
        assert run["steps_after_onset"] == overshoot
        if mode == "record":
            assert (run["state"], run["stopped_by"]) == ("finished", None)
            assert run["steps"] == STEPS * run["epochs"] and overshoot > 0
            assert run["score"] in (None, "NaN") and message == ""
            continue
        # Each step is a call of its own here: not one comes after the first bad one.
        assert overshoot == 0
        if mode == "stop":
            assert (run["state"], run["stopped_by"]) == ("stopped", "NanWatch")
            assert run["score"] in (None, "NaN") and message == ""
            continue
        assert run["state"] == "failed"
        line = message.splitlines()[-1]
        kind, _, told = line.partition(": ")
        assert kind.rpartition(".")[2] == run["error_type"]
        assert run["error_type"] == (
            "FailedTrialError" if mode == "fail" else "NonFiniteError"
        )
        assert told == run["error_message"]
        assert told.startswith(f"NaN Watch: {run['run']} went bad at epoch 1, batch ")
        assert f"(step {run['onset']['step']})" in told
        assert f"{run['origin']['kind']} {run['origin']['name']}, " in told
        assert "ause: learning rate" in told


@pytest.mark.parametrize(
    "name, mode",
    # What a mode does to a good trial is the same with every tuner: nothing.
    [*((name, "stop") for name in TUNERS), ("RandomSearch", "fail")],
)
def test_a_good_trial(
    name: str, mode: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner = make(name, good, tmp_path)
    search(
        tuner, NanWatch(tmp_path / "log", on_nonfinite=mode, experiments=0), batch_size=16
    )
    for run in runs(tmp_path):
        assert (run["status"], run["state"]) == ("clean", "finished")
        assert run["tuner_status"] == "COMPLETED" and run["misread"] is None
        assert (run["steps_after_onset"], run["error_type"]) == (0, None)
    assert overview(tmp_path / "log")["searches"][0]["cost"] is None
    assert "NaN Watch" not in capsys.readouterr().err


def test_the_overshoot_is_that_of_one_call(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        return linear(hp.Choice("rate", [100.0]), steps_per_execution=8)

    for mode in ("stop", "fail"):
        path = tmp_path / mode
        tuner = make("RandomSearch", build, path, max_trials=1)
        search(tuner, NanWatch(path / "log", on_nonfinite=mode, experiments=0))  # type: ignore[arg-type]
        (run,) = runs(path)
        assert run["steps"] % 8 == 0 and run["steps"] < STEPS
        assert run["steps_after_onset"] == run["steps"] - run["onset"]["step"] - 1 < 8


def test_stop_leaves_no_score_from_before_unless_told_to(tmp_path: Path) -> None:
    # The first epoch is finite, the second is not.
    for keep in (False, True):
        path = tmp_path / str(keep)
        tuner = make("BayesianOptimization", with_rates(1e12), path, max_trials=1)
        watch = NanWatch(
            path / "log", on_nonfinite="stop", keep_score=keep, experiments=0
        )
        search(tuner, watch, batch_size=64, epochs=5)
        (run,) = runs(path)
        assert (run["state"], run["epochs"]) == ("stopped", 2)
        if keep:
            assert (run["tuner_status"], run["misread"]) == ("COMPLETED", "stale_score")
            assert run["score"] > 1e20
        else:
            assert (run["tuner_status"], run["misread"]) == ("FAILED", None)
            assert run["score"] in (None, "NaN")


def test_with_fail_the_abort_says_why(tmp_path: Path) -> None:
    tuner = make(
        "RandomSearch",
        with_rates(100.0, 110.0, 120.0, 130.0),
        tmp_path,
        max_trials=4,
        max_consecutive_failed_trials=3,
    )
    with pytest.raises(RuntimeError, match="consecutive failures") as caught:
        search(tuner, NanWatch(tmp_path / "log", on_nonfinite="fail", experiments=0))
    run = run_of(overview(tmp_path / "log"), "2/execution0")
    assert str(caught.value).strip().endswith(run["error_message"])


# --- What is said at the first failed trial --------------------------------------------

ADVICE = "give the tuner max_consecutive_failed_trials="


def advice(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if ADVICE in line]


def test_what_to_set_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(hp: Any) -> Any:
        return linear([1e8, 0.01, 1e8][hp.Int("n", 0, 2)])  # never two in a row

    tuner = make(
        "GridSearch",
        build,
        tmp_path,
        max_trials=3,
        max_consecutive_failed_trials=2,
        executions_per_trial=2,
    )
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=8, epochs=1)
    failed = {r["trial_id"] for r in runs(tmp_path) if r["tuner_status"] == "FAILED"}
    assert len(failed) == 2
    (line,) = advice(capsys)
    assert f"Trial #{int(min(failed)) + 1} failed (its objective was NaN)" in line
    assert "once 2 trials in a row fail" in line
    assert line.endswith("max_consecutive_failed_trials=3.")


def test_another_exception_is_told_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise ValueError("no disk")

    options = {"max_trials": 3, "max_consecutive_failed_trials": 2}
    tuner = make("RandomSearch", good, tmp_path, **options)
    with pytest.raises(RuntimeError):
        search(tuner, NanWatch(tmp_path / "log", experiments=0), Broken(), batch_size=32)
    (line,) = advice(capsys)
    assert "Trial #1 failed (ValueError: no disk). " in line


@pytest.mark.parametrize(
    "options",
    [
        {"max_consecutive_failed_trials": 3},  # two trials only
        {"max_consecutive_failed_trials": 2},  # at its end, if at all
        {"max_consecutive_failed_trials": None},
    ],
)
def test_nothing_is_said_where_the_search_cannot_be_given_up(
    options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner = make("RandomSearch", bad, tmp_path, **options)
    with contextlib.suppress(RuntimeError):  # of the search that is given up at its end
        search(tuner, NanWatch(tmp_path / "log", experiments=0), epochs=1)
    assert {r["tuner_status"] for r in runs(tmp_path)} == {"FAILED"}
    assert advice(capsys) == []
