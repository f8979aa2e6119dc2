"""A metric that a callback of the fit goes by is as good as a search's objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import Status
from tests.writing.logs import read_log

C = keras.callbacks


def ratio(y: Any, p: Any) -> Any:
    return keras.ops.mean(p / y)


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (lambda path: C.EarlyStopping("ratio", mode="max"), "score_lost"),
        (lambda path: C.EarlyStopping("val_ratio", mode="max"), "score_lost"),
        (lambda path: C.ReduceLROnPlateau("val_ratio", mode="max"), "score_lost"),
        (
            lambda path: C.ModelCheckpoint(path, "ratio", 0, True, mode="max"),
            "score_lost",
        ),
        # It keeps every epoch's, whatever the metric is.
        (lambda path: C.ModelCheckpoint(path, "ratio", mode="max"), "contained"),
        (lambda path: C.EarlyStopping("loss"), "contained"),
        (lambda path: C.Callback(), "contained"),
    ],
)
def test_what_a_callback_goes_by_is_a_score(
    other: Callable[[str], Any], status: Status, tmp_path: Path
) -> None:
    x = np.random.RandomState(0).randn(16, 3).astype(np.float32)
    y = x[:, :1].copy()
    y[5] = 0
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[ratio])
    callbacks = [NanWatch(tmp_path / "log"), other(str(tmp_path / "best.keras"))]
    model.fit(x, y, validation_data=(x, y), callbacks=callbacks, verbose=0)
    found = read_log(tmp_path / "log").status
    assert found.status == status
    assert found.origin is not None and found.origin.kind == "metric"
