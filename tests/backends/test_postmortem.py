"""The operation and the line that made the first bad value, on every backend that names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import PostMortem
from tests.backends.models import state
from tests.writing.logs import read_log

L, ops = keras.layers, keras.ops
BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = np.abs(X.sum(axis=1, keepdims=True)) + 0.1
Y[21] = 0.0
PUBLIC = {"tensorflow": "tf.", "torch": "torch.", "jax": "jax."}


def relative(y: Any, prediction: Any) -> Any:
    return ops.mean(ops.abs(y - prediction) / y, axis=-1)


def guarded(y: Any, prediction: Any) -> Any:
    # The logarithm that a guard leaves out fires first, and is not to blame.
    kept = ops.where(y > 0, ops.log(y), 0.0)
    return ops.mean(ops.square(prediction - kept) / (y + 0.0), axis=-1)


def root(y: Any, prediction: Any) -> Any:
    off = prediction - prediction
    return ops.sqrt(ops.sum(ops.square(off), axis=-1)) + ops.mean(y * prediction, axis=-1)


class Logarithm(L.Layer):
    def call(self, x: Any) -> Any:
        return ops.log(x)


def trained(
    loss: Any, tmp_path: Path, *layers: Any, x: Any = X, optimizer: Any = "adam"
) -> tuple[PostMortem, Any]:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(8, name="first"),
            *layers,
            L.Dropout(0.1),
            L.Dense(1, name="last"),
        ]
    )
    model.compile(optimizer, loss)
    watch = NanWatch(tmp_path, experiments=0)
    model.fit(x, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
    return read_log(tmp_path).all("postmortem")[-1].result, model


def line_of(function: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


@pytest.mark.parametrize(
    ("loss", "text", "op_type", "finding"),
    [
        (relative, "/ y", "RealDiv", "1 of 8 denominators is 0"),
        (guarded, "(y + 0.0)", "RealDiv", "1 of 8 denominators is 0"),
    ],
)
def test_an_operation_of_the_loss(
    loss: Any, text: str, op_type: str, finding: str, tmp_path: Path
) -> None:
    found, _ = trained(loss, tmp_path)
    assert found.reproduced and found.op_type == op_type and not found.gradient
    assert found.finding == finding and found.rows == [5]
    assert found.source is not None and found.source.line == line_of(loss, text)
    assert found.source.function == loss.__name__ and found.in_model is False
    assert found.op is not None
    assert found.op.startswith(PUBLIC[BACKEND])


def test_the_derivative_of_an_operation(tmp_path: Path) -> None:
    found, _ = trained(root, tmp_path)
    assert found.reproduced and found.gradient and found.forward_type == "Sqrt"
    assert found.source is not None and found.source.line == line_of(root, "ops.sqrt")
    assert found.in_model is False


def test_an_operation_of_a_layer(tmp_path: Path) -> None:
    found, _ = trained("mse", tmp_path, Logarithm(name="mine"))
    assert found.reproduced and found.op_type == "Log" and found.layer == "mine"
    assert found.in_model and "negative" in found.finding
    assert found.source is not None and found.source.text.endswith("ops.log(x)")


class Exponential(L.Layer):
    def __init__(self, scale: float, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def call(self, x: Any) -> Any:
        return ops.exp(self.scale * ops.sigmoid(x))


@pytest.mark.parametrize(("scale", "fits"), [(30.0, True), (400.0, False)])
def test_whether_float32_would_do_is_known(
    scale: float, fits: bool, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    half = [L.Dense(8, dtype="float16"), Exponential(scale, dtype="float16")]
    model = keras.Sequential([keras.Input((4,)), *half, L.Dense(1)])
    model.compile("adam", "mse")
    watch = NanWatch(tmp_path, experiments=0)
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
    found = read_log(tmp_path).all("postmortem")[-1].result
    assert (found.dtype, found.op_type) == ("float16", "Exp")
    assert found.finite_in_float32 is fits
    assert model.layers[0].compute_dtype == "float16"


def test_data_that_were_bad_themselves(tmp_path: Path) -> None:
    x = X.copy()
    x[11, 2] = np.nan
    found, _ = trained("mse", tmp_path, x=x)
    assert (found.data, found.rows, found.op) == ("input", [3], None)


def test_what_an_update_breaks_is_not_blamed_on_what_it_left_behind(
    tmp_path: Path,
) -> None:
    optimizer = keras.optimizers.SGD(float("inf"))
    keras.utils.set_random_seed(0)
    found, _ = trained("mse", tmp_path, optimizer=optimizer)
    # The rate itself may be named: that was infinite before.
    assert "kernel" not in found.held and "bias" not in found.held
    assert found.source is None


def test_the_model_is_as_it_was(tmp_path: Path) -> None:
    _, model = trained(relative, tmp_path / "a")
    seen = state(model)
    keras.utils.set_random_seed(0)
    again = keras.Sequential(
        [keras.Input((4,)), L.Dense(8, name="first"), L.Dropout(0.1), L.Dense(1)]
    )
    again.compile("adam", relative)
    again.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(seen, state(again), strict=True):
        np.testing.assert_array_equal(a, b)
