"""Trainings that really go bad: by a few values of one batch, or by something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.diagnosis.ranking import Cause, diagnose
from tests.corpus.run import read_facts

L = keras.layers
# Examples, in batches of 16: row 5 of the fourth batch is the 53rd.
SIZE, BATCH, ROW = 128, 16, 3 * 16 + 5


def causes(folder: Path, model: Any, x: Any, y: Any) -> list[Cause]:
    watch = NanWatch(os.path.join(folder, "run"))
    model.fit(
        x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[watch]
    )
    return diagnose(read_facts(str(folder)))


def table(**to: float) -> tuple[Any, Any]:
    """Returns inputs and labels, with one value put into the row."""
    keras.utils.set_random_seed(11)
    rng = np.random.default_rng(11)
    x = rng.normal(size=(SIZE, 5)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    if "x" in to:
        x[ROW, 2] = to["x"]
    if "y" in to:
        y[ROW] = to["y"]
    return x, y


def net(*last: Any, rate: float = 1e-3, loss: Any = "mse") -> Any:
    model = keras.Sequential([keras.Input((5,)), L.Dense(8, "relu"), *last])
    model.compile(keras.optimizers.Adam(rate), loss)
    return model


def unguarded(y: Any, p: Any) -> Any:
    ops = keras.ops
    return -ops.mean(y * ops.log(p) + (1 - y) * ops.log(1 - p))


def test_a_row_far_out_that_a_logarithm_met(tmp_path: Path) -> None:
    model = net(L.Dense(1, "sigmoid"), loss=unguarded)
    first, *_ = causes(tmp_path, model, *table(x=-2e5))
    assert first.id == "outlier_data"
    said = " ".join(first.evidence)
    assert "column 2 of row 5 of the input is -200000" in said
    assert f"example {ROW} of the data that fit was given" in said
    assert "test_outlier_programs.py:" in first.fix and "logarithm" in first.fix


@pytest.mark.parametrize("values", [{"x": 3e37}, {"y": 1e20}, {"x": 1e20, "y": 1e20}])
def test_a_fill_value_that_keras_own_loss_squared(
    tmp_path: Path, values: dict[str, float]
) -> None:
    first, *others = causes(tmp_path, net(L.Dense(1)), *table(**values))
    assert first.id == "outlier_data"
    said = " ".join(first.evidence)
    assert ("of the input is" in said) == ("x" in values)
    assert ("of the label is" in said) == ("y" in values)
    assert "At " not in first.fix  # no line of one's own took part
    assert "learning_rate" not in {c.id for c in others}


def test_a_pixel_of_a_picture(tmp_path: Path) -> None:
    keras.utils.set_random_seed(11)
    x = np.random.default_rng(11).random((SIZE, 6, 6, 1)).astype(np.float32)
    y = x.mean(axis=(1, 2))
    x[ROW, 4, 1] = 1e36
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            L.Conv2D(4, 3, activation="relu"),
            L.Flatten(),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    first, *_ = causes(tmp_path, model, x, y)
    assert first.id == "outlier_data"
    assert "column (4, 1, 0) of row 5" in " ".join(first.evidence)


def test_the_same_programs_without_the_value_are_clean(tmp_path: Path) -> None:
    for n, model in enumerate(
        [net(L.Dense(1, "sigmoid"), loss=unguarded), net(L.Dense(1))]
    ):
        assert causes(tmp_path / str(n), model, *table()) == []


def named_otherwise(found: list[Cause], cause: str) -> None:
    assert found[0].id == cause, found[0]
    assert "outlier_data" not in {c.id for c in found}


def test_a_rate_that_is_too_high_is_no_row_s_fault(tmp_path: Path) -> None:
    model = net(L.Dense(1))
    model.compile(keras.optimizers.SGD(50.0), "mse")
    named_otherwise(causes(tmp_path, model, *table()), "learning_rate")


def test_heavy_tails_are_no_outliers(tmp_path: Path) -> None:
    x, y = table()
    x = np.exp(1.5 * x)
    model = net(L.Dense(1))
    model.compile(keras.optimizers.SGD(50.0), "mse")
    found = causes(tmp_path, model, x, y)
    assert found and "outlier_data" not in {c.id for c in found}


def test_a_label_of_ordinary_size_that_a_division_met_is_the_division_s(
    tmp_path: Path,
) -> None:
    def relative(y: Any, p: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y - p) / y)

    x, y = table()
    y = y + 1.0
    y[ROW] = 0.0
    found = causes(tmp_path, net(L.Dense(1), loss=relative), x, y)
    named_otherwise(found, "loss_domain")
    assert "/ keras.ops.maximum(y, 1e-" in found[0].fix  # below the other labels


def test_data_that_are_large_throughout_are_unscaled(tmp_path: Path) -> None:
    x, y = table()
    model = net(L.Dense(1))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    named_otherwise(causes(tmp_path, model, 1e4 * x, y), "unscaled_inputs")
