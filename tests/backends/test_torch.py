"""What only PyTorch has: sums that stay on a device, and outputs that are proved finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.backends.models import BATCH, STEPS, compiled, data_of, fit, state
from tests.writing.logs import read_log

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tb_nanwatch.writing.backends.torch import instrument
from tb_nanwatch.writing.backends.torch.proofs import LARGE, proofs

L, ops = keras.layers, keras.ops


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the host's memory taken for that of a device, however slow the machine is."""
    monkeypatch.setattr(instrument, "is_on_host", lambda model: False)
    # What is due by the clock is read by the clock.
    monkeypatch.setattr(instrument, "READ_INTERVAL_SECONDS", 1e9)


class Reads(keras.callbacks.Callback):
    """Counts what is read from tensors in the steps between two batches.

    On a device each of these waits until it has computed all that it was given.
    """

    NAMES = ("item", "tolist", "numpy", "cpu", "__array__", "__bool__", "__float__")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.count = 0
        self._on = False
        outer = self

        class Mode(TorchDispatchMode):
            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                outer.count += "_local_scalar_dense" in str(func)
                return func(*args, **(kwargs or {}))

        self._mode = Mode()

        def counted(name: str) -> Any:
            method = getattr(torch.Tensor, name)

            def read(tensor: Any, *args: Any, **kwargs: Any) -> Any:
                self.count += self._on
                return method(tensor, *args, **kwargs)

            return read

        for name in self.NAMES:
            monkeypatch.setattr(torch.Tensor, name, counted(name))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 2:
            self._mode.__enter__()
            self._on = True
        if batch == STEPS - 3:
            self._on = False
            self._mode.__exit__(None, None, None)


def test_a_healthy_step_reads_nothing_back(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = []
    later, now = NanWatch(tmp_path / "later"), NanWatch(tmp_path, on_nonfinite="stop")
    for watches in ([], [later], [now]):
        with monkeypatch.context() as patched:
            reads = Reads(patched)
            model = compiled("dense", weighted_metrics=[])
            fit(model, data_of(model), reads, *watches)
        counts.append(reads.count)
    assert counts[0] == counts[1]
    assert read_log(tmp_path / "later").status.steps == STEPS
    # Where a bad step is to end the training, each is read: the count does see it.
    assert counts[2] > counts[0]


def bad(place: str, data: Any) -> Any:
    x, y, weights = (part.copy() for part in data)
    part = {"input": x, "label": y, "sample_weight": weights}[place]
    part[7 * BATCH + 2] = np.nan
    return x, y, weights


@pytest.mark.parametrize("place", ["input", "label", "sample_weight"])
def test_what_is_read_later_is_as_exact(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, states = [], []
    monkeypatch.setattr(instrument, "READ_INTERVAL_SECONDS", 1e9)
    for later in (False, True):
        monkeypatch.setattr(instrument, "is_on_host", lambda model, at=later: not at)
        model = compiled("dense")
        fit(model, bad(place, data_of(model)), NanWatch(tmp_path / str(later)))
        log = read_log(tmp_path / str(later))
        episode = log.episodes[0]
        result = log.all("postmortem")[-1].result
        found.append(
            (
                *(episode.start, episode.tensors, log.status.onset),
                *(result.reproduced, result.data, result.rows),
            )
        )
        states.append(state(model))
        assert not any("looked at" in note for note in log.session.notes)
    assert found[0] == found[1]
    assert found[0][0].step == 7 and found[0][3]
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_proved_is_finite_and_what_is_not_is_summed() -> None:
    def of(*tensors: Any) -> dict[int, int]:
        numbers = {id(t): i for i, t in enumerate(tensors)}
        found = proofs({id(t): t for t in tensors})
        return {numbers[key]: numbers[by] for key, by in found.items()}

    x = torch.randn(LARGE, 1, requires_grad=True) * 1.0
    added = (x - x.mean()) * 2.0 + 1.0
    kept = torch.relu(added)
    # A normalisation's input, and what relu makes of its output.
    assert of(x, added, kept) == {0: 1, 2: 1}
    # What a choice, a maximum or a quotient leaves out proves nothing.
    for other in (
        torch.where(x > 0, x, torch.zeros_like(x)),
        torch.maximum(x, torch.zeros_like(x)),
        1.0 / x,
        torch.sigmoid(x),
        x[1:],
        torch.relu(x) * 1.0,
    ):
        assert 0 not in of(x, other)
    # Nor does what was computed without a gradient, or is small.
    with torch.no_grad():
        assert of(x, x + 1.0) == {}
    small = torch.randn(8, requires_grad=True) * 1.0
    assert of(small, small + 1.0) == {}


class Breaks(L.Layer):
    """Makes one of its values infinite in one step, which a relu behind it hides."""

    def build(self, shape: Any) -> None:
        self.step = self.add_weight(shape=(), trainable=False, initializer="zeros")

    def call(self, x: Any) -> Any:
        at = ops.cast(ops.equal(self.step, 5.0), "float32")
        self.step.assign_add(1.0)
        first = ops.reshape(ops.cast(ops.arange(ops.size(x)) < 1, "float32"), x.shape)
        return ops.where(at * first > 0, -float("inf"), x)


def test_a_large_output_that_relu_makes_finite_again_is_found(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    x = Breaks(name="breaks")(L.Dense(512, name="first")(inputs))
    x = L.ReLU(name="hides")(x + 1.0)
    model = keras.Model(inputs, L.Dense(1)(x))
    model.compile("sgd", "mse")
    data = np.random.default_rng(0).normal(size=(32 * 10, 64)).astype("float32")
    model.fit(
        *(data, data[:, :1]),
        batch_size=32,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(tmp_path)],
    )
    first = read_log(tmp_path).episodes[0]
    assert (first.start.step, first.tensors[0].name) == (5, "breaks")
    assert first.tensors[0].num_neg_inf == 1
