"""What is told of an exception: of real ones, and of text that is none."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch.wording.messages import (
    of_exception,
    of_traceback,
    split,
    useful,
    without_noise,
)

X = np.ones((8, 4), np.float32)


def fit(*layers: Any, x: Any = X, y: Any = None, loss: Any = "mse") -> None:
    model = keras.Sequential(layers)
    model.compile("sgd", loss)
    model.fit(x, np.ones(8, np.float32) if y is None else y, verbose=0)


def labels() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fit(keras.Input((4,)), keras.layers.Dense(3), y=np.array([0, 1, 2, 7] * 2), loss=loss)


def indices() -> None:
    fit(
        keras.Input((4,)),
        keras.layers.Embedding(3, 2),
        keras.layers.Flatten(),
        keras.layers.Dense(1),
        x=np.full((8, 4), 7),
    )


def eager() -> None:
    tf.gather([1, 2], 5)


def width() -> None:
    fit(keras.Input((4,)), keras.layers.Dense(1), x=X[:, :3])


def numerics() -> None:
    def loss(y: Any, p: Any) -> Any:
        return tf.debugging.check_numerics(tf.math.log(p * 0 - 1), "the loss is bad")

    fit(keras.Input((4,)), keras.layers.Dense(1), loss=loss)


def plain() -> None:
    raise ValueError("units must be positive")


def several_lines() -> None:
    raise ValueError("these do not match:\n  units 3\n  layers 2")


def chained() -> None:
    try:
        plain()
    except ValueError as e:
        raise OSError("no data") from e


def nothing_said() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "fails, kind, said",
    [
        (
            labels,
            "InvalidArgumentError",
            "Received a label value of 7 which is outside the valid range of [0, 3).",
        ),
        (indices, "InvalidArgumentError", "indices[0,0] = 7 is not in [0, 3)"),
        (eager, "InvalidArgumentError", "indices = 5 is not in [0, 2)"),
        (numerics, "InvalidArgumentError", "the loss is bad : Tensor had NaN values"),
        (plain, "ValueError", "units must be positive"),
        (several_lines, "ValueError", "these do not match: units 3"),
        (chained, "OSError", "no data"),
        (nothing_said, "KeyboardInterrupt", ""),
    ],
)
def test_what_was_wrong_is_what_is_told(
    fails: Callable[[], None], kind: str, said: str
) -> None:
    try:
        fails()
    except BaseException as e:
        error, text = e, traceback.format_exc()
    assert len(without_noise(str(error))) <= len(str(error))
    assert (type(error).__name__, useful(str(error))) == (kind, said)
    assert split(text)[0] == kind
    whole = f"{kind}: {said}" if said else kind
    assert of_traceback(text) == of_exception(type(error).__name__, str(error)) == whole


def test_what_keras_says_of_a_layer_comes_with_the_layer() -> None:
    with pytest.raises(ValueError) as caught:
        width()
    said = useful(str(caught.value))
    assert said.startswith("Input 0 with name 'None' of layer ")
    assert said.endswith(
        "received input with shape (None, 3) (when calling Sequential.call())"
    )


@pytest.mark.parametrize(
    "message",
    [
        "",
        "  \n\n",
        "a [x] in [0, 8) of {y}: [[1, 2], [3, 4]] is no list of {'node': 3}",
        "the file name: data.csv",
        "expected a matrix, received [[1, 2]]",
        "[[a/b]] is no link",
    ],
)
def test_other_words_stay(message: str) -> None:
    assert useful(message) == of_traceback(message) == message.strip()


def test_what_is_long_is_cut_and_hostile_text_ends_soon() -> None:
    assert useful("a" * 1000, 20) == "a" * 19 + "…"
    for piece in (
        "[[",
        "{{node ",
        "\n",
        "[Op:",
        "Traceback (most recent call last):\n  a\n",
    ):
        assert len(of_traceback(piece * 200_000)) <= 300
