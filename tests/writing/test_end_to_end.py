"""From a real search to what the report says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading import cli


def build(hp: Any) -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="last")])
    rate = hp.Choice("rate", [1e-3, 1e25])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_a_search_is_reported_as_it_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.RandomState(0)
    x, y = rng.randn(32, 3).astype("f4"), rng.randn(32, 1).astype("f4")
    tuner = keras_tuner.GridSearch(
        build, "val_loss", directory=tmp_path / "tuner", project_name="rates"
    )
    tuner.search(
        x,
        y,
        validation_data=(x, y),
        epochs=3,
        batch_size=8,
        verbose=0,
        callbacks=[NanWatch(tmp_path / "logs")],
    )
    capsys.readouterr()
    assert cli.main(["report", str(tmp_path / "logs"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (search,) = report["searches"]
    assert (search["tuner"], search["objective"], search["trials"]) == (
        *("GridSearch", "val_loss", 2),
    )
    assert search["by_status"]["clean"] == 1 and search["by_status"]["diverged"] == 1
    runs = {run["hparams"]["rate"]: run for run in report["runs"]}
    good, bad = runs[1e-3], runs[1e25]
    assert (good["state"], good["status"], good["tuner_status"]) == (
        *("finished", "clean", "COMPLETED"),
    )
    assert good["onset"] is None and good["origin"] is None and good["causes"] == []
    assert (bad["state"], bad["status"], bad["tuner_status"]) == (
        *("finished", "diverged", "FAILED"),
    )
    # The first update is huge; what is predicted then is finite, its square is not.
    assert bad["onset"]["phase"] == "train" and bad["onset"]["epoch"] == 0
    assert bad["onset"]["step"] == bad["onset"]["batch"] == 1
    assert bad["origin"]["kind"] == "loss" and bad["causes"]
