"""What the log tells of how a model was compiled."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from tb_nanwatch.writing.log.environment import environment_of


class Halved(keras.losses.BinaryCrossentropy):
    """A loss of the user's own."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return super().call(y_true / 2, y_pred)


def interval_of(loss: Any, outputs: int = 1) -> list[float]:
    x = keras.Input((2,))
    names = "ab"[:outputs]
    ends = {name: keras.layers.Dense(1, name=name)(x) for name in names}
    model = keras.Model(x, ends if outputs > 1 else ends["a"])
    model.compile("sgd", loss)
    return environment_of(model, None).label_interval


@pytest.mark.parametrize(
    "loss",
    [
        "binary_crossentropy",
        "bce",
        keras.losses.categorical_crossentropy,
        keras.losses.BinaryCrossentropy(from_logits=True),
        keras.losses.CategoricalFocalCrossentropy(),
    ],
)
def test_a_cross_entropy_of_keras_takes_labels_from_0_to_1(loss: Any) -> None:
    assert interval_of(loss) == [0.0, 1.0]


@pytest.mark.parametrize(
    "loss",
    [
        None,
        "mse",
        "poisson",
        keras.losses.Poisson(),
        lambda y, p: y - p,
        Halved(),
    ],
)
def test_of_any_other_loss_nothing_is_known(loss: Any) -> None:
    assert interval_of(loss) == []


def test_several_losses_have_to_agree() -> None:
    assert interval_of({"a": "bce", "b": "bce"}, 2) == [0.0, 1.0]
    assert interval_of({"a": "bce", "b": "mse"}, 2) == []
