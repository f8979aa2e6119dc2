"""Which examples of the data the rows of a batch are, however they were shuffled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.postmortem.examples import find
from tests.tuner.searches import overview

RNG = np.random.default_rng(8)
X = RNG.normal(size=(100, 3))
Y = RNG.integers(0, 5, 100)
ORDER = RNG.permutation(100)[:32]
BATCH = (X[ORDER].astype(np.float32), Y[ORDER, None])


def pairs(given: Any, batch: Any, *rows: int) -> list[tuple[int, int]]:
    return [(e.row, e.example) for e in find(given, batch, rows)]


def test_a_row_is_found_by_what_is_in_it() -> None:
    assert pairs((X, Y), BATCH, 4, 0) == [(4, ORDER[4]), (0, ORDER[0])]
    assert pairs(({"a": X}, None), ({"a": BATCH[0]},), 7) == [(7, ORDER[7])]
    holed = X.copy()
    holed[ORDER[5], 1] = np.nan
    assert pairs((holed, Y), (holed[ORDER].astype(np.float32), BATCH[1]), 5) == [
        (5, ORDER[5])
    ]


def test_of_what_stands_there_twice_or_was_changed_nothing_is_said() -> None:
    twice = X.copy()
    twice[ORDER[1]] = twice[ORDER[2]]
    batch = (twice[ORDER].astype(np.float32), None)
    assert pairs((twice, None), batch, 1, 2, 3) == [(3, ORDER[3])]
    assert pairs((X, Y), (2 * BATCH[0], BATCH[1]), 0) == []
    # Labels part what inputs do not.
    labels = np.arange(100)
    assert pairs((twice, labels), (batch[0], labels[ORDER, None]), 1) == [(1, ORDER[1])]


@pytest.mark.parametrize(
    "given",
    [(None, None), (iter([]), None), (X[:, :2], Y), (X.tolist(), Y), (X[:9], Y)],
    ids=["nothing", "a generator", "another width", "lists", "another length"],
)
def test_what_is_no_array_of_such_rows_is_not_searched(given: Any) -> None:
    assert pairs(given, BATCH, 0) == []


@pytest.mark.parametrize("twice", [False, True])
def test_a_shuffled_training_names_the_example(tmp_path: Path, twice: bool) -> None:
    x = X.astype(np.float32)
    x[61, 2] = np.nan
    if twice:
        x[62] = x[61]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    y = np.zeros((100, 1), np.float32)
    model.fit(
        x, y, batch_size=25, shuffle=True, verbose=0, callbacks=[NanWatch(tmp_path)]
    )
    (run,) = overview(tmp_path)["runs"]
    said = " ".join(run["causes"][0]["evidence"])
    assert run["causes"][0]["id"] == "nonfinite_data"
    named = "That is example 61 of the data that fit was given, counted from 0" in said
    assert named is not twice
    assert ("without shuffling it is the row of the data set" in said) is twice
