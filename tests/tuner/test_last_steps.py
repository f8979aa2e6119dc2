"""The last steps of a trial count for what is said of the search, as they do in its log."""

from __future__ import annotations

from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.tuner.searches import overview


def _search(place: Path, labels: np.ndarray) -> None:
    def build(hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")]
        )
        model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.0])), "mse")
        return model

    tuner = keras_tuner.RandomSearch(
        build, "loss", max_trials=1, directory=place, project_name="p"
    )
    x = np.ones((len(labels), 1), np.float32)
    watch = NanWatch(place / "log", experiments=0)
    tuner.search(
        *(x, labels), epochs=1, batch_size=1, shuffle=False, verbose=0, callbacks=[watch]
    )


@pytest.mark.parametrize("back", [True, False])
def test_a_run_that_comes_back_at_last(
    back: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A lane of so many steps has points of more than one step, the last of them open.
    labels = np.full(299, 1e4, np.float32)
    labels[0] = 1
    if back:
        labels[290:] = 1
    _search(tmp_path, labels)
    out = capsys.readouterr().out
    (run,) = overview(tmp_path / "log")["runs"]
    assert run["status"] == ("clean" if back else "runaway")
    assert ("1 of 1 watched trial went bad" in out) is not back, out
    assert ("All finite: 1 trial" in out) is back, out
