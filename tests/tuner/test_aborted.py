"""Searches that KerasTuner gave up: why, what would have let them go on, the cost."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.wording import abort_text
from tests.support.told import as_overview
from tests.tuner.searches import X, linear, make, overview, run_of, search

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")

# Of trial 0, 1, ...: a rate, or what its model's building raises.
Fate = float | Exception


def build_of(*fates: Fate) -> Any:
    built = []

    def build(hp: Any) -> Any:
        fate = fates[hp.Int("n", 0, len(fates) - 1)]
        built.append(fate)
        # KerasTuner builds a model when the tuner is made, to see the space.
        if isinstance(fate, Exception) and len(built) > 1:
            raise fate
        return linear(0.01 if isinstance(fate, Exception) else fate)

    return build


def run_search(
    path: Path, *fates: Fate, name: str = "GridSearch", **more: Any
) -> dict[str, Any]:
    """Runs a search; a grid search has these fates one after another."""
    options = {"max_trials": len(fates), "max_consecutive_failed_trials": 3} | more
    tuner = make(name, build_of(*fates), path, **options)
    try:
        search(tuner, NanWatch(path / "log", experiments=0), batch_size=8, epochs=1)
    except RuntimeError as e:
        assert "consecutive failures" in str(e)
    return overview(path / "log")


def printed(full: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    return " ".join(out.getvalue().split())


def test_which_trials_and_why(tmp_path: Path) -> None:
    full = run_search(
        tmp_path, 1e8, 0.01, 1e8, ValueError("units must be positive"), 1e8, 0.01
    )
    (entry,) = full["searches"]
    aborted = entry["aborted"]
    assert aborted["trials"] == ["2", "3", "4"]
    assert "Number of consecutive failures exceeded the limit of 3" in aborted["message"]
    first, second, third = aborted["reasons"]
    onset = run_of(full, "2/execution0")["onset"]
    assert first.startswith("diverged at epoch 1, batch ")
    assert (
        f"(step {onset['step']})" in first
        and "likely cause: learning rate too high" in first
    )
    assert second == "ValueError: units must be positive"
    assert third.startswith("diverged at epoch 1, batch ")
    assert "2 of these 3 trials went bad" in aborted["fix"]
    assert "max_consecutive_failed_trials=6" in aborted["fix"]
    text = printed(full)
    for trial, reason in zip(aborted["trials"], aborted["reasons"], strict=True):
        assert f" Trial #{int(trial) + 1}: {reason}" in text
    assert aborted["fix"] in text


def test_a_trial_whose_model_cannot_be_built_is_seen(tmp_path: Path) -> None:
    full = run_search(tmp_path, ValueError("no such thing"), 0.01)
    run = run_of(full, "0/execution0")
    assert (run["status"], run["state"], run["tuner_status"]) == (
        *("unwatched", "failed", "FAILED"),
    )
    assert (run["error_type"], run["error_message"]) == ("ValueError", "no such thing")
    assert "no such thing" in run["message"]
    assert run["hparams"] == {"n": 0}
    (entry,) = full["searches"]
    assert entry["by_status"] == {"unwatched": 1, "clean": 1}
    assert entry["aborted"] is None


def test_a_search_in_which_no_model_can_be_built_is_seen(tmp_path: Path) -> None:
    full = run_search(tmp_path, *[OSError("no data")] * 5)
    (entry,) = full["searches"]
    assert (entry["trials"], entry["by_status"]) == (3, {"unwatched": 3})
    assert entry["aborted"]["reasons"] == ["OSError: no data"] * 3
    assert "not by going bad" in entry["aborted"]["fix"]


def test_failures_that_are_not_in_a_row_abort_nothing(tmp_path: Path) -> None:
    full = run_search(tmp_path, 1e8, 0.01, 1e8, max_consecutive_failed_trials=2)
    (entry,) = full["searches"]
    assert entry["aborted"] is None and entry["trials"] == 3
    assert "aborted" not in printed(full)


def test_what_is_said_to_set_lets_the_search_go_on(tmp_path: Path) -> None:
    def run(limit: int, *rates: float) -> dict[str, Any]:
        left = [0.01, *rates]  # the first model is built to see the space

        def build(hp: Any) -> Any:
            hp.Int("n", 0, 99)
            return linear(left.pop(0))

        options = {"max_trials": 8, "max_consecutive_failed_trials": limit}
        tuner = make("RandomSearch", build, tmp_path, **options)
        with contextlib.suppress(RuntimeError):
            search(
                tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=8, epochs=1
            )
        return overview(tmp_path / "log")

    (entry,) = run(3, 1e8, 1e8, 1e8)["searches"]
    assert entry["aborted"]["trials"] == ["0", "1", "2"]
    fix = entry["aborted"]["fix"]
    assert "max_consecutive_failed_trials=8: with overwrite=False the search" in fix
    # overwrite=False, and the number that was named.
    full = run(8, 1e8, 1e8, *[0.01] * 4)
    (entry,) = full["searches"]
    assert entry["aborted"] is None
    assert (entry["trials"], entry["by_status"]) == (8, {"clean": 4, "diverged": 4})
    # The trial that the abort cut off was run again, and nothing was lost.
    assert len(full["runs"]) == 8 + 1
    first, again = [r for r in full["runs"] if r["trial_id"] == "2"]
    assert (first["superseded"], first["retry"]) == (True, 0)
    assert (again["superseded"], again["retry"]) == (False, 1)
    assert "#3 retry 1" in printed(full)


def test_a_grid_search_is_not_said_to_go_on(tmp_path: Path) -> None:
    (entry,) = run_search(tmp_path, 1e8, 1e8, max_consecutive_failed_trials=1)["searches"]
    assert entry["aborted"]["trials"] == ["0"]
    assert "overwrite=False" not in entry["aborted"]["fix"]
    assert "overwrite=True" in entry["aborted"]["fix"]


def test_an_exception_of_the_program_is_told_apart(tmp_path: Path) -> None:
    import keras_tuner

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise keras_tuner.errors.FatalError("the disk is full")

    tuner = make("GridSearch", build_of(0.01, 0.01), tmp_path)
    with pytest.raises(keras_tuner.errors.FatalError):
        search(tuner, NanWatch(tmp_path / "log", experiments=0), Stop(), batch_size=8)
    full = overview(tmp_path / "log")
    (run,) = full["runs"]
    assert (run["state"], run["error_type"]) == ("failed", "FatalError")
    assert run["error_message"] == "the disk is full"


def of_classes(hp: Any) -> Any:
    """Classes that the labels 0 to 3 fit in, or do not."""
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(hp.Choice("classes", [3, 4]))]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    return model


def test_a_training_that_fails_in_its_first_step_is_not_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner = make(
        "GridSearch",
        of_classes,
        tmp_path,
        max_trials=2,
        max_consecutive_failed_trials=1,
    )
    labels = np.arange(64) % 4
    with pytest.raises(RuntimeError, match="consecutive failures"):
        tuner.search(
            *(X, labels),
            validation_data=(X, labels),
            verbose=0,
            callbacks=[NanWatch(tmp_path / "log", experiments=0)],
        )
    said = (
        "InvalidArgumentError: Received a label value of 3 which is outside the valid "
        "range of [0, 3)."
    )
    assert f"NaN Watch: Trial #1 failed ({said[:-1]}). KerasTuner" in (
        " ".join(capsys.readouterr().err.split())
    )
    full = overview(tmp_path / "log")
    (run,) = full["runs"]
    assert (run["status"], run["state"], run["steps"]) == ("unwatched", "failed", 0)
    assert run["failure"] == said
    # What the exception said in full, but for where TensorFlow made the operation.
    assert run["error_message"].startswith(said.partition(": ")[2] + " ")
    (entry,) = full["searches"]
    assert entry["aborted"]["reasons"] == [said]
    assert entry["verdict"].startswith(
        "No trial was watched. 1 failed with InvalidArgumentError, not by going bad: "
        "Received a label value of 3 which is outside the valid range of [0, 3)."
    )
    assert f"Trial #1: it failed with {said}" in printed(full)


def test_a_training_that_fails_later_is_clean_and_told_of(tmp_path: Path) -> None:
    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if self.model.optimizer.learning_rate > 0.015:
                raise OSError("the disk is full")

    tuner = make("GridSearch", build_of(0.01, 0.02), tmp_path)
    search(tuner, NanWatch(tmp_path / "log", experiments=0), Fail(), batch_size=8)
    full = overview(tmp_path / "log")
    good, failed = run_of(full, "0/execution0"), run_of(full, "1/execution0")
    assert (good["status"], good["failure"]) == ("clean", None)
    assert (failed["status"], failed["failure"]) == ("clean", "OSError: the disk is full")
    (entry,) = full["searches"]
    assert (
        "1 failed with OSError, not by going bad: the disk is full." in entry["verdict"]
    )
    assert "Trial #2: it failed with OSError: the disk is full" in printed(full)


def test_what_went_bad_did_not_fail_for_another_reason(tmp_path: Path) -> None:
    tuner = make("RandomSearch", build_of(1e8), tmp_path, max_trials=1)
    search(
        tuner,
        NanWatch(tmp_path / "log", on_nonfinite="raise", experiments=0),
        batch_size=8,
    )
    full = overview(tmp_path / "log")
    (run,) = full["runs"]
    assert run["failure"].startswith("NonFiniteError: NaN Watch: 0/execution0 went bad")
    assert "failed with" not in full["searches"][0]["verdict"]
    assert "failed with" not in printed(full)


def test_a_search_that_ends_at_its_last_trial_is_not_said_to_go_on(
    tmp_path: Path,
) -> None:
    (entry,) = run_search(tmp_path, *[1e8] * 3)["searches"]
    fix = entry["aborted"]["fix"]
    assert "the last of its 3 trials" in fix
    assert "max_consecutive_failed_trials" not in fix


@pytest.mark.parametrize(
    "limit, trials, advised",
    [
        (3, 4, 4),
        (3, 9, 9),
        (3, 100, 10),
        (8, 12, 12),
        (8, 100, 24),
        (8, None, 24),
        (1, None, 10),
        (True, "many", 10),
    ],
)
def test_no_more_is_advised_than_there_are_trials(
    limit: int, trials: Any, advised: int
) -> None:
    text = abort_text.before_abort("0", "ValueError: no", limit, trials)
    assert text is not None
    assert text.endswith(f" max_consecutive_failed_trials={advised}.")


@pytest.mark.parametrize(
    "limit, trials, warns", [(3, 4, True), (4, 4, False), (5, 4, False)]
)
def test_only_a_search_that_can_be_cut_short_is_warned_of_it(
    limit: int, trials: int, warns: bool
) -> None:
    text = abort_text.before_abort("0", "ValueError: no", limit, trials)
    assert (text is not None) == warns


# --- The cost ---------------------------------------------------------------------------


class Slow(keras.callbacks.Callback):
    """Makes every step last, so that its share of the time is known."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        import time

        time.sleep(0.02)


def test_what_going_bad_cost(tmp_path: Path) -> None:
    costs = {}
    for mode in ("record", "stop"):
        path = tmp_path / mode
        tuner = make("GridSearch", build_of(1e8), path, max_trials=1)
        watch = NanWatch(path / "log", on_nonfinite=mode)  # type: ignore[arg-type]
        search(tuner, watch, Slow(), batch_size=1, epochs=2)
        full = overview(path / "log")
        (run,) = full["runs"]
        (entry,) = full["searches"]
        costs[mode] = cost = entry["cost"]
        # The post-mortem is no training.
        trained = run["updated"] - run["started"] - run["postmortem"]["seconds"]
        assert cost["seconds"] == pytest.approx(trained)
        assert cost["share"] == pytest.approx(
            cost["seconds_after_onset"] / cost["seconds"]
        )
        assert (cost["text"] != "") == (mode == "record")
    record, stop = costs["record"], costs["stop"]
    # Some 120 of 128 steps of 20 ms and a little more came after it.
    assert 2.2 < record["seconds_after_onset"] < record["seconds"]
    assert record["text"].startswith(f"{record['share']:.0%}".replace("%", " %"))
    assert 'on_nonfinite="stop" would have saved' in record["text"]
    # What was said to be saved was saved. What comes before the onset, the trace of the
    # step above all, takes each time as long as the machine pleases.
    assert stop["seconds_after_onset"] < 0.1 * record["seconds_after_onset"]
    assert record["text"] in printed(overview(tmp_path / "record" / "log"))
