"""A step with two updates: what came first is first, and the capsule is from before both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.postmortem.capsule import Capsule
from tests.tuner.searches import overview
from tests.writing.logs import read_log

L = keras.layers
BATCH, BAD_STEP = 16, 4
X = np.random.default_rng(5).normal(size=(8 * BATCH, 3)).astype(np.float32)
X[BAD_STEP * BATCH + 2] = 0.0


class Two(keras.Model):
    """Two networks; the loss of one of them divides by the inputs' size.

    Args:
        bad: which loss it is, 0 or 1.
    """

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.bad = bad
        self.a = keras.Sequential([keras.Input((3,)), L.Dense(4, "tanh"), L.Dense(3)])
        self.b = keras.Sequential([keras.Input((3,)), L.Dense(4, "tanh"), L.Dense(1)])
        self.second = keras.optimizers.Adam(1e-2)
        self.second.build(self.b.trainable_variables)

    def call(self, x: Any) -> Any:
        return self.b(self.a(x))

    def train_step(self, x: Any) -> Any:
        size = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
        losses = []
        updates = ((self.a, self.optimizer), (self.b, self.second))
        for n, (network, optimizer) in enumerate(updates):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x)))
                if n == self.bad:
                    loss = tf.reduce_mean(tf.square(self(x)) / size)  # the line
            variables = network.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            losses.append(loss)
        return {"first": losses[0], "second": losses[1]}


def trained(bad: int, steps: int, callbacks: Any = ()) -> Any:
    keras.utils.set_random_seed(4)
    model = Two(bad)
    model.build((None, 3))
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(model.a.trainable_variables)
    model.compile(optimizer)
    model.fit(
        X[: steps * BATCH],
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model


@pytest.mark.parametrize("bad", [0, 1])
def test_the_first_update_comes_first(bad: int, tmp_path: Path) -> None:
    trained(bad, 8, [NanWatch(tmp_path)])
    status = read_log(tmp_path).status
    assert status.onset.step == BAD_STEP
    # The loss, which the step returns by this name.
    assert (status.origin.kind, status.origin.name) == (
        "metric",
        ("first", "second")[bad],
    )
    (run,) = overview(tmp_path)["runs"]
    assert "tf.math.divide" in run["postmortem"]["text"], run["postmortem"]
    source = Path(__file__).read_text().splitlines()
    line = next(i for i, text in enumerate(source, 1) if "# the line" in text)
    assert run["postmortem"]["source"]["line"] == line
    assert run["causes"][0]["id"] in ("outlier_data", "loss_domain", "layer_domain")


@pytest.mark.parametrize("bad", [0, 1])
def test_the_capsule_is_from_before_both(bad: int, tmp_path: Path) -> None:
    trained(bad, 8, [NanWatch(tmp_path)])
    (place,) = tmp_path.glob("**/nanwatch_capsule")
    capsule = Capsule.read(place)
    assert not capsule.partial and capsule.missing == []
    before = trained(bad, BAD_STEP)
    expected = [
        *before.variables,
        *before.optimizer.variables,
        *before.second.variables,
    ]
    kept = [s for s in capsule.variables if s.role not in ("random", "metric")]
    assert len(kept) == len(expected)
    for s, v in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(s.value, v.numpy(), s.path)
