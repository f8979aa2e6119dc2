"""Ranges in the log are NumPy's on the very tensors of the step, whatever their dtype."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tests.writing.logs import read_log

L, ops = keras.layers, keras.ops
WORDS = 9
LARGEST = np.finfo(np.float32).max
DTYPES = ["float32", "float16", "bfloat16", "float64", "float32", "float32"]


class Keeping(keras.Model):
    """Hands the tensors of its last training step to the test, as they are."""

    # A function, since Keras makes its own of a dict that is set on a model.
    seen: Callable[[], dict[str, Any]]

    def keep(self, **tensors: Any) -> None:
        def store(*arrays: Any) -> Any:
            self.seen().update(zip(tensors, arrays, strict=True))
            return np.int64(0)

        tf.numpy_function(store, list(tensors.values()), tf.int64)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = self.compute_loss(x, y, outputs[0])
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        assert isinstance(gradients[0], tf.IndexedSlices)
        names = ("prediction", "half", "bfloat", "double", "nothing", "all_nan")
        self.keep(embedding=gradients[0].values, **dict(zip(names, outputs, strict=True)))
        self.optimizer.apply(gradients, variables)
        return {"loss": loss}


@pytest.fixture
def model() -> Any:
    x = keras.Input((6,), dtype="int32")
    h = L.Flatten()(L.Embedding(WORDS, 3, name="words")(x))
    half = ops.cast(h * 300.0, "float16")
    bfloat = ops.cast(ops.relu(h), "bfloat16")
    double = ops.cast(h, "float64") * 1e200
    nothing = h[:, :0]
    all_nan = ops.log(-1.0 - ops.abs(h))
    out = L.Dense(1)(h)
    model = Keeping(x, [out, half, bfloat, double, nothing, all_nan])
    seen: dict[str, Any] = {}
    model.seen = lambda: seen
    model.compile("sgd", "mse")
    # Before the first batch, so that its full look sees them.
    model.get_layer("words").set_weights([np.random.RandomState(0).randn(WORDS, 3)])
    return model


def test_ranges_are_numpys(model: Any, tmp_path: Path) -> None:
    rng = np.random.RandomState(1)
    x = rng.randint(0, WORDS, (8, 6)).astype(np.int32)  # words come more than once
    y = rng.randn(8, 1).astype(np.float32)
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[NanWatch(tmp_path)])
    log = read_log(tmp_path)
    (ranges,) = log.all("ranges")
    assert ranges.steps.tolist() == [[0, 0]] and ranges.measured.tolist() == [1]
    probes = log.session.train_probes

    def check(kind: str, name: str, tensor: Any) -> None:
        (place,) = (i for i, p in enumerate(probes) if (p.kind, p.name) == (kind, name))
        counts, stats = numpys(tensor)
        assert ranges.counts[0, place].tolist() == counts
        # The log holds float32, in which what is finite stays finite.
        expected = np.clip(stats, -LARGEST, LARGEST)
        np.testing.assert_allclose(
            ranges.stats[0, place], expected, rtol=1e-6, err_msg=f"{name} {tensor.dtype}"
        )

    tensors = model.seen()
    check("gradient", "words/embeddings", tensors.pop("embedding"))
    assert [str(t.dtype) for t in tensors.values()] == DTYPES
    for i, tensor in enumerate(tensors.values()):
        check("prediction", f"prediction[{i}]", tensor)
    assert log.status.status == "contained"


def numpys(tensor: Any) -> tuple[list[int], list[float]]:
    """Returns counts and range of a tensor in the log's order, counted in doubles."""
    plain = np.asarray(tensor).astype(np.float64)
    counts = [np.isnan(plain).sum(), np.isposinf(plain).sum(), np.isneginf(plain).sum()]
    finite = plain[np.isfinite(plain)]
    low, high, rms, zeros = (np.nan,) * 4
    if finite.size:
        low, high = finite.min(), finite.max()
        scale = max(abs(low), abs(high)) or 1.0  # the square of a double may overflow
        rms = scale * np.sqrt(np.mean(np.square(finite / scale)))
    if plain.size:
        zeros = np.mean(plain == 0)
    no_update = np.nan  # of a tensor that is no weight
    return counts, [low, high, rms, rms, rms, zeros, no_update]
