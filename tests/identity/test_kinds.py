"""Kinds of training that once differed, each made as small as it still did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.backends.tensorflow.instrument import Instrument
from tests.identity.architectures import Block, Spec
from tests.identity.campaign import compare
from tests.identity.training import Mode

PLAIN: Final = Spec(seed=224, shape=(32,), batch=16, examples=80)
# What a Dense layer makes goes into the addition of noise alone.
NOISE: Final = replace(PLAIN, blocks=(Block("noise", hidden=4, count=5),))
# Assigns to its slots while it is built.
ASSIGNS: Final = replace(PLAIN, optimizer="ScheduleFreeAdamW")
# TensorFlow orders the factors of an update anew: rate, clipping and gradient.
CLIPS: Final = replace(PLAIN, optimizer="SGD", options=(("global_clipnorm", 0.5),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "mode"),
    [(NOISE, "graph"), (CLIPS, "graph"), (ASSIGNS, "graph"), (ASSIGNS, "xla")],
    ids=["noise added", "clipped", "slots assigned", "slots assigned, XLA"],
)
def test_watching_changes_nothing(spec: Spec, mode: Mode) -> None:
    result, found = compare(spec, mode)
    assert result.outcome == "identical", [str(d) for d in found]


class StartsAtOne(keras.optimizers.SGD):
    """Assigns to its slots by itself while it is built."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        for slot in self.momentums:
            slot.assign(np.ones(slot.shape))


def _weights(callbacks: list[Any]) -> list[Any]:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(StartsAtOne(0.01, momentum=0.9), "mse")
    x = np.random.default_rng(0).normal(size=(16, 3))
    model.fit(x, x[:, :2], batch_size=8, verbose=0, callbacks=callbacks)
    values: list[Any] = model.get_weights()
    return values


def test_an_optimizer_of_the_users_begins_as_without(tmp_path: Path) -> None:
    for plain, watched in zip(_weights([]), _weights([NanWatch(tmp_path)]), strict=True):
        np.testing.assert_array_equal(plain, watched)


TRACES: Final[list[str]] = []


def doubled(x: Any) -> Any:
    """An activation of the user's."""
    if not tf.executing_eagerly():  # a look runs it once more, operation by operation
        TRACES.append("activation")
    return 2.0 * x


class Doubled(keras.layers.Layer):
    """A layer of the user's."""

    def call(self, x: Any) -> Any:
        return doubled(x)


def error(y_true: Any, y_pred: Any) -> Any:
    """A loss of the user's."""
    return keras.losses.mean_squared_error(y_true, doubled(y_pred))


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("whose", ["layer", "loss", "activation"])
def test_python_of_the_users_is_traced_as_often_as_without(
    tmp_path: Path, whose: str, jit: bool
) -> None:
    counts = []
    for callbacks in ([], [NanWatch(tmp_path)]):
        dense = keras.layers.Dense(
            2, activation=doubled if whose == "activation" else None
        )
        layers = [dense, *([Doubled()] if whose == "layer" else [])]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile("adam", error if whose == "loss" else "mse", jit_compile=jit)
        TRACES.clear()
        x = np.ones((16, 3), np.float32)
        model.fit(x, x[:, :2], batch_size=8, verbose=0, callbacks=callbacks)
        counts.append(len(TRACES))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
def test_what_is_of_keras_alone_is_traced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jit: bool
) -> None:
    """Plain Keras traces it twice: the first trace makes the optimizer's variables."""
    traced: list[str] = []
    begin = Instrument._begin

    def counted(instrument: Instrument, phase: Any, data: Any) -> Any:
        traced.append(phase)
        return begin(instrument, phase, data)

    monkeypatch.setattr(Instrument, "_begin", counted)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "relu")])
    model.compile("adam", "mse", jit_compile=jit)
    x = np.ones((16, 3), np.float32)
    model.fit(x, x[:, :2], batch_size=8, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert traced == ["train"]
