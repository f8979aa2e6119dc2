"""On JAX: what another tensor tells of is not read, and a fault in it is found as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.backends.models import BATCH, STEPS, Counting, fit, state
from tests.writing.logs import read_log

if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)
import jax
import jax.numpy as jnp

from tb_nanwatch.writing.backends.jax import sums
from tb_nanwatch.writing.backends.jax.implied import implied
from tb_nanwatch.writing.backends.tracing import Found

L = keras.layers
ops = keras.ops
MASK = np.array([0.0, -np.inf], "float32")
ONES = np.ones((1, 4, 4, 2), "float32")


def windows(x: Any, size: int, stride: int) -> Any:
    return jax.lax.reduce_window(
        *(x, 0.0, jax.lax.add, (1, size, size, 1), (1, stride, stride, 1), "VALID")
    )


def convolved(x: Any, size: int, stride: int) -> Any:
    kernel = jnp.ones((size, size, 2, 3))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=numbers
    )


TELLING: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x + 1.0,
    "mean": lambda x: x.mean(axis=(1, 2)),
    "normalisation": lambda x: (x - x.mean()) * jax.lax.rsqrt(x.var() + 1e-3),
    "product": lambda x: x.reshape(1, -1) @ jnp.ones((32, 2)),
    "function": lambda x: jax.jit(lambda y: -2.0 * y.T)(x),
    "bfloat16": lambda x: x.astype("bfloat16"),
    "windows": lambda x: windows(x, 2, 2),
    "convolution": lambda x: convolved(x, 3, 1),
}
SILENT: dict[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0.0),
    "choice": lambda x: jnp.where(x > 0, x, 0.0),
    "exponential": jnp.exp,
    "squashed": jnp.tanh,
    "divisor": lambda x: 1.0 / x,
    "root below": lambda x: jax.lax.rsqrt(x),
    "integer": lambda x: x.astype("int32").astype("float32"),
    "a part": lambda x: x[:, 1:],
    "beside a mask": lambda x: x + MASK,
    "beside what may be infinite": lambda x: x + jnp.log(x * x),
    "windows that leave some out": lambda x: windows(x, 1, 2),
    "windows that end before": lambda x: windows(x, 3, 2),
    "convolution that leaves some out": lambda x: convolved(x, 1, 2),
    "nothing to sum": lambda x: x.reshape(1, -1) @ jnp.ones((32, 0)),
}


def is_left(make: Callable[[Any], Any]) -> bool:
    left: list[set[int]] = []
    keys: list[int] = []

    def step(x: Any) -> Any:
        first = x * 2.0
        last = make(first)
        found = [
            Found("activation", "first", "first", first),
            Found("activation", "last", "last", last),
        ]
        left.append(implied(found, first._trace))
        keys[:] = [id(first), id(last)]
        return last

    jax.jit(step)(ONES)
    assert keys[1] not in left[0]  # what tells is read itself
    return keys[0] in left[0]


@pytest.mark.parametrize("name", TELLING)
def test_what_carries_every_infinity_tells(name: str) -> None:
    assert is_left(TELLING[name])
    for bad in (np.nan, np.inf, -np.inf):
        for place in range(ONES.size):
            x = ONES.copy()
            x.flat[place] = bad
            made = np.asarray(TELLING[name](jnp.asarray(x)), "float32")
            assert not np.isfinite(made).all(), (bad, place)


@pytest.mark.parametrize("name", SILENT)
def test_what_may_end_an_infinity_does_not_tell(name: str) -> None:
    assert not is_left(SILENT[name])


# --- A training -----------------------------------------------------------------


class BadPart(Counting):
    """Makes infinities of three values of each example at that step: by products alone."""

    def call(self, x: Any, training: Any = False) -> Any:
        bad = self.is_bad(training) if training else ops.zeros(())
        values = np.zeros(x.shape[1:], "float32")
        values.flat[:3] = 1e30
        factor = 1.0 + bad * values
        return x * factor * factor


def pooled(fault: Any = None) -> Any:
    """A convolution of which only the mean over its pixels is made: XLA makes both at once."""
    x = inputs = keras.Input((8, 8, 1))
    x = first = L.Conv2D(48, 3, padding="same", name="first")(x)
    x = L.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    x = L.Conv2D(48, 3, padding="same", name="third")(x)
    x = fault(x) if fault is not None else x
    x = L.Add(name="added")([first, x])
    x = L.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(inputs, L.Dense(1, name="last")(x))
    model.compile("adam", "mse")
    return model


def trained(policy: str, fault: Any, *callbacks: Any) -> list[Any]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, 8, 8, 1)).astype("float32")
    y = x.mean(axis=(1, 2))
    keras.config.set_dtype_policy(policy)
    try:
        model = pooled(fault() if fault else None)
        fit(model, (x, y, np.ones(len(y))), *callbacks)
        return state(model)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["bfloat16", "float32"])
def test_a_pooled_convolution_trains_as_without(policy: str, tmp_path: Path) -> None:
    plain = trained(policy, None)
    watched = trained(policy, None, NanWatch(tmp_path, experiments=0))
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a, b)
    log = read_log(tmp_path)
    assert log.status.status == "clean" and log.status.steps == STEPS


def test_a_fault_in_what_is_not_read_is_found_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: set[str] = set()

    def spy(found: Any, scope: Any) -> set[int]:
        left = implied(found, scope)
        names.update(f.name for f in found if id(f.tensor) in left)
        return left

    monkeypatch.setattr(sums, "implied", spy)
    watch = NanWatch(tmp_path, experiments=0)
    trained("float32", lambda: BadPart(5, name="fault"), watch)
    assert "fault" in names
    log = read_log(tmp_path)
    first = log.episodes[0]
    origin = first.tensors[first.new[0]]
    assert (first.start.phase, first.start.step) == ("train", 5)
    assert (origin.kind, origin.name, origin.num_nan) == ("activation", "fault", 0)
    assert origin.num_pos_inf + origin.num_neg_inf == 3 * BATCH
    assert log.status.onset is not None and log.status.onset.step == 5
