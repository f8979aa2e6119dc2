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
