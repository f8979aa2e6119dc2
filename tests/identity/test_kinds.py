"""Kinds of training that once differed, each made as small as it still did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.identity.architectures import Block, Spec
from tests.identity.campaign import compare
from tests.identity.training import Mode

PLAIN: Final = Spec(seed=224, shape=(32,), batch=16, examples=80)
# What a Dense layer makes goes into the addition of noise alone.
NOISE: Final = replace(PLAIN, blocks=(Block("noise", hidden=4, count=5),))
# Assigns to its slots while it is built.
ASSIGNS: Final = replace(PLAIN, optimizer="ScheduleFreeAdamW")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "mode"),
    [(NOISE, "graph"), (ASSIGNS, "graph"), (ASSIGNS, "xla")],
    ids=["noise added", "slots assigned", "slots assigned, XLA"],
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
