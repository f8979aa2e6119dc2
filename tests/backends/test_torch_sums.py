"""Sums on PyTorch: of variables whose elements are known from steps before, and of giants."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.writing.logs import Log, read_log

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)
import torch

from tb_nanwatch.writing.backends.torch.sums import Lasting, half_sums

STEPS, AT = 40, 23
L = keras.layers


def test_elements_that_are_known_are_those_of_the_tensor_now() -> None:
    tensors = [torch.randn(6, 4), torch.randn(4, 6).T, torch.ones(3), torch.ones(())]
    lasting = Lasting(tensors)

    def agree() -> None:
        expected = [0.5 * float((t.double() ** 2).sum()) for t in tensors]
        np.testing.assert_allclose(half_sums(tensors), expected, rtol=1e-5)
        np.testing.assert_allclose(lasting.half_sums(), expected, rtol=1e-5)

    agree()
    tensors[1][2, 1] = 7.0  # in place
    tensors[2].data = torch.full((5,), 2.0)  # other memory
    agree()
    tensors[0][5, 3] = math.nan
    tensors[2].data = torch.tensor([1.0, -math.inf])
    sums = lasting.half_sums()
    assert [math.isfinite(s) for s in sums] == [False, True, False, True]


def test_what_numpy_cannot_sum_is_not_taken_for_known() -> None:
    negative = torch.view_as_complex(torch.ones(3, 2)).conj().imag
    assert negative.is_neg()
    half = torch.full((512,), 300.0, dtype=torch.float16)  # its square overflows
    brain = torch.full((4,), 1e30, dtype=torch.bfloat16)
    double = torch.full((4,), 1e30, dtype=torch.float64)
    tensors = [negative, half, brain, double, torch.ones(0), torch.ones(2) * 1j]
    found = half_sums(tensors)
    assert Lasting(tensors).half_sums() == found
    np.testing.assert_allclose(found[:2], [1.5, 0.5 * 512 * 300.0**2], rtol=1e-3)
    # Beyond float32, the row that is made of it has to be looked at in full.
    assert found[2] > 3.4e38 and found[3] > 3.4e38
    np.testing.assert_allclose(found[4:], [0.0, 1.0], rtol=1e-6)


def test_a_sum_that_overflows_says_nothing() -> None:
    giants = [torch.full((n,), 1e30) for n in (1, 5, 5000)]
    with np.errstate(all="raise"):
        assert half_sums(giants) == Lasting(giants).half_sums() == [math.inf] * 3


class At(keras.callbacks.Callback):
    """Does something to a weight of the model before one step."""

    def __init__(self, do: Any) -> None:
        super().__init__()
        self._do = do

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == AT:
            with torch.no_grad():
                self._do(self.model.layers[1].kernel.value)


class Returns(L.Layer):
    """Adds a weight that is its second output as well."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1],), initializer="zeros", name="w")

    def call(self, x: Any) -> Any:
        return x + self.w, self.w.value


def train(place: Path, do: Any, x: Any = None, **options: Any) -> Log:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    h, _ = Returns(name="returns")(L.Dense(8, activation="relu", **options)(inputs))
    model = keras.Model(inputs, L.Dense(1)(h))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(4 * STEPS, 5)) if x is None else x
    watch = NanWatch(place, experiments=0)

    y = np.ones((len(x), 1), np.float32)
    model.fit(x, y, batch_size=4, verbose=0, shuffle=False, callbacks=[At(do), watch])
    return read_log(place)


def _set(tensor: Any, value: float) -> None:
    tensor[0, 0] = value


def _replace(tensor: Any, value: float) -> None:
    changed = tensor.detach().clone()
    changed[0, 0] = value
    tensor.data = changed


@pytest.mark.parametrize("change", [_set, _replace])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5])
def test_a_weight_that_is_changed_between_two_listings(
    change: Any, value: float, tmp_path: Path
) -> None:
    log = train(tmp_path, lambda kernel: change(kernel, value))
    if value == 0.5:
        assert log.status.status == "clean"
        return
    assert log.status.status == "diverged"
    assert log.status.onset is not None and log.status.onset.step == AT


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_giants_are_no_fault(dtype: str, tmp_path: Path) -> None:
    # Weights of 1e25: their squares are beyond float32, they themselves are not.
    x = np.zeros((4 * STEPS, 5), np.float32)
    log = train(tmp_path, lambda kernel: kernel.fill_(1e25), x=x, dtype=dtype)
    assert not log.episodes
    assert log.status.origin is None
