"""Where the first bad operation's operand came from, since when, and what an epsilon does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import Link, PostMortem
from tests.backends.test_postmortem import Logarithm, line_of
from tests.writing.logs import read_log

L, ops = keras.layers, keras.ops
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = (np.abs(X.sum(axis=1, keepdims=True)) + 0.1).astype("float32")
# Row 5 of the fourth batch of eight.
Y[29] = 0.0


def relative(y: Any, prediction: Any) -> Any:
    return ops.mean(ops.abs(y - prediction) / y, axis=-1)


def shifted(y: Any, prediction: Any) -> Any:
    short = y - 0.05
    return ops.mean(ops.square(ops.log(short) - prediction), axis=-1)


def root(y: Any, prediction: Any) -> Any:
    off = ops.square(prediction - ops.stop_gradient(prediction))
    return ops.sqrt(ops.sum(off, axis=-1)) + ops.mean(y * prediction, axis=-1)


class Scaled(L.Layer):
    """Divides by a weight."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return x / self.scale


class Third(L.Layer):
    """The logarithm of one feature of the batch."""

    def call(self, x: Any) -> Any:
        return ops.log(x[:, 2:3])


def trained(
    loss: Any, place: Path, *layers: Any, x: Any = X, experiments: float = 0
) -> PostMortem:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), *layers, L.Dense(1, name="last")])
    model.compile("adam", loss)
    watch = NanWatch(place, experiments=experiments)
    model.fit(x, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
    result: PostMortem = read_log(place).all("postmortem")[-1].result
    return result


def first(found: PostMortem) -> Link:
    assert found.chain, found
    return found.chain[0]


def test_a_label_by_row_and_whether_other_batches_have_it(tmp_path: Path) -> None:
    found = trained(relative, tmp_path)
    link = first(found)
    assert (link.operand, link.value, link.origin) == ("denominator", 0.0, "data")
    assert (link.name, link.row, link.column) == ("label", 5, [0])
    since = found.since
    assert since is not None and (since.batches, since.bad) == (3, 0)
    assert since.low == pytest.approx(np.abs(Y[:24]).min())
    # It is the batch: with the weights of the beginning it is the same.
    assert (since.steps, since.was_bad) == (3, True)


def test_an_operation_on_the_way_is_told_with_its_line(tmp_path: Path) -> None:
    link = first(trained(shifted, tmp_path))
    assert link.origin == "operation" and link.value == pytest.approx(-0.05)
    assert link.source is not None
    assert link.source.line == line_of(shifted, "short = y - 0.05")
    assert link.operands == [0.0, pytest.approx(0.05)] and link.row == 5


def test_a_weight_that_was_finite_and_not_zero_before(tmp_path: Path) -> None:
    class Zero(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                for weight in self.model.weights:
                    if weight.path.endswith("scale"):
                        weight.assign([1.0, 0.0, 1.0, 1.0])

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), Scaled(name="mine"), L.Dense(1)])
    model.compile("sgd", "mse")
    watch = NanWatch(tmp_path, experiments=0)
    x, y = X[:24], Y[:24]
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[Zero(), watch])
    found = read_log(tmp_path).all("postmortem")[-1].result
    link = first(found)
    assert (link.operand, link.value, link.origin) == ("denominator", 0.0, "variable")
    assert link.name.endswith("scale")
    # Every batch fails with these weights, and this one did not with earlier ones.
    assert found.since is not None and found.since.bad == found.since.batches > 0
    assert (found.since.steps, found.since.was_bad) == (5, False)


def test_a_column_of_a_part_of_the_batch(tmp_path: Path) -> None:
    x = np.abs(X) + 0.5
    x[18, 2] = -3.0
    link = first(trained("mse", tmp_path, Third(name="mine"), x=x))
    assert (link.value, link.origin, link.name) == (-3.0, "data", "input")
    assert (link.row, link.column) == (2, [2])


def test_an_output_of_a_layer(tmp_path: Path) -> None:
    inner = L.Dense(4, name="first", use_bias=False)
    link = first(trained("mse", tmp_path, inner, Logarithm(name="mine")))
    assert link.origin == "operation" and link.value <= 0 and link.row >= 0
    assert link.layer == "first"


# --- An epsilon -------------------------------------------------------------------


def tried(found: PostMortem) -> tuple[bool, bool]:
    (experiment,) = [e for e in found.experiments if e.change == "epsilon"]
    return experiment.tried, experiment.finite


@pytest.mark.parametrize(
    ("loss", "helps"), [(relative, True), (shifted, True), (root, True)]
)
def test_an_epsilon_in_the_operation(loss: Any, helps: bool, tmp_path: Path) -> None:
    found = trained(loss, tmp_path, experiments=60)
    assert tried(found) == (True, helps), found.experiments


def test_an_epsilon_at_another_line_is_not_tried(tmp_path: Path) -> None:
    """What overflows is no division, logarithm or root."""
    x = X.copy()
    x[9] = 3e38
    found = trained("mse", tmp_path, L.Dense(4), x=x, experiments=60)
    assert tried(found) == (False, False)
