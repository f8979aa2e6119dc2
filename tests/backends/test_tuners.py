"""KerasTuner's searches, and the report on their logs, on the backend that Keras runs on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.cli import main
from tests.support.workers import Processes
from tests.tuner.searches import overview
from tests.writing.logs import read_log

RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 6)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def build(hp: Any) -> Any:
    rate = hp.Choice("rate", [1e-3, 1e4])
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(hp.Int("units", 4, 8), activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def reported(log: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    main(["report", str(log), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# Settings of each that make a handful of trials, some of them with either rate.
TUNERS: dict[str, dict[str, Any]] = {
    "RandomSearch": {"max_trials": 5},
    "Hyperband": {"max_epochs": 4, "factor": 2},
    "BayesianOptimization": {"max_trials": 5, "num_initial_points": 4},
    "GridSearch": {"max_trials": 8},
}


@pytest.mark.parametrize("tuner", list(TUNERS))
def test_a_search_with_a_rate_that_diverges(
    tuner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = getattr(keras_tuner, tuner)(
        build,
        "val_loss",
        directory=tmp_path / "tuner",
        seed=3,
        max_consecutive_failed_trials=20,
        **TUNERS[tuner],
    )
    log = tmp_path / "log"
    search.search(
        X, Y, validation_data=(X, Y), epochs=3, verbose=0, callbacks=[NanWatch(log)]
    )
    # The HParams tab lists them, too.
    assert all(
        {"_hparams_/session_start_info", "_hparams_/session_end_info"}
        <= read_log(log / trial / "execution0").others.keys()
        for trial in search.oracle.trials
    )
    report = reported(log, capsys)
    (found,) = report["searches"]
    assert found["tuner"] == tuner
    trials = report["runs"]
    assert {t["trial_id"] for t in trials} == set(search.oracle.trials)
    assert found["trials"] == len(search.oracle.trials)
    bad = [t for t in trials if t["hparams"]["rate"] > 1]
    assert bad and len(bad) < len(trials)
    for trial in trials:
        went_bad = trial["status"] == "diverged"
        assert went_bad == (trial in bad), trial
        if went_bad:
            assert trial["causes"][0]["id"] == "learning_rate", trial["causes"]


def test_a_search_that_is_given_up_and_goes_on(tmp_path: Path) -> None:
    rates = [1e-3, 1e4, 1e4, 1e-3, 1e-3]  # the first model shows the space

    def build_next(hp: Any) -> Any:
        hp.Int("n", 0, 99)
        hp.values["rate"] = rates.pop(0)
        return build(hp)

    def run(limit: int) -> dict[str, Any]:
        search = keras_tuner.RandomSearch(
            build_next,
            "val_loss",
            max_trials=3,
            directory=tmp_path / "tuner",
            seed=3,
            max_consecutive_failed_trials=limit,
        )
        log = tmp_path / "log"
        watch = NanWatch(log, on_nonfinite="fail", experiments=0)
        options = {"validation_data": (X, Y), "epochs": 3, "verbose": 0}
        if limit == 2:
            with pytest.raises(RuntimeError, match="consecutive failures"):
                search.search(X, Y, callbacks=[watch], **options)
        else:
            search.search(X, Y, callbacks=[watch], **options)
        return overview(log)

    (found,) = run(2)["searches"]
    assert found["aborted"]["trials"] == ["0", "1"]
    assert "max_consecutive_failed_trials=" in found["aborted"]["fix"]
    report = run(9)
    (found,) = report["searches"]
    assert found["aborted"] is None and found["trials"] == 3
    # The trial at which it was given up was run again.
    first, again = [r for r in report["runs"] if r["trial_id"] == "1"]
    assert (first["superseded"], first["retry"]) == (True, 0)
    assert (again["superseded"], again["retry"]) == (False, 1)
    assert (first["status"], again["status"]) == ("diverged", "clean")


class Flaky(keras.callbacks.Callback):
    """Fails once, over all of KerasTuner's copies."""

    left = 1

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.left:
            self.left -= 1
            raise ValueError("flaky")


def test_a_retry_is_an_attempt(tmp_path: Path) -> None:
    search = keras_tuner.RandomSearch(
        build,
        "val_loss",
        max_trials=1,
        max_retries_per_trial=2,
        directory=tmp_path / "tuner",
        seed=3,
    )
    watches = [NanWatch(tmp_path / "log", experiments=0), Flaky()]
    search.search(X, Y, validation_data=(X, Y), epochs=2, verbose=0, callbacks=watches)
    (trial,) = search.oracle.trials
    log = read_log(tmp_path / "log" / trial / "execution0")
    first, second = (log.of(session) for session in log.sessions)
    assert (first.status.state, first.status.attempt) == ("failed", 0)
    assert first.status.error_type == "ValueError"
    assert (second.status.state, second.status.attempt) == ("finished", 1)
    assert [r.tuner_status for r in second.all("trial")] == ["COMPLETED"]


def test_a_chief_and_two_workers_share_a_search(tmp_path: Path) -> None:
    names = ("tuner0", "tuner1")
    with Processes("tests.tuner.worker", tmp_path) as processes:
        processes.start("chief", 4)
        workers = [processes.start(name, 4) for name in names]
        for worker in workers:
            assert worker.end(240) == 0, worker.printed
        full = overview(tmp_path / "log")
    (found,) = full["searches"]
    assert found["aborted"] is None and found["trials"] == 6
    runs = full["runs"]
    assert sorted(r["run"] for r in runs) == [f"{i}/execution0" for i in range(6)]
    assert {r["worker"] for r in runs} == set(names)
    for run in runs:
        went_bad = run["hparams"]["rate"] > 1
        assert run["status"] == ("diverged" if went_bad else "clean")
        assert run["tuner_status"] == ("FAILED" if went_bad else "COMPLETED")
