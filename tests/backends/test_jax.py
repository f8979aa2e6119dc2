"""What only JAX has: a step that is a function of its state, which it gives away."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.backends.models import BATCH, STEPS, data_of, fit, state
from tests.writing.logs import read_log

if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)
import jax

L = keras.layers
ROOT = Path(__file__).parents[2]


class Guide(keras.Model):
    """A `train_step` and a `compute_loss_and_updates` as Keras' guide for JAX has them."""

    def __init__(self) -> None:
        super().__init__(name="guide")
        self.first = L.Dense(8, activation="tanh", name="first")
        self.last = L.Dense(1, name="last")
        self.mean = keras.metrics.Mean(name="loss")
        self.of = keras.losses.MeanSquaredError()

    def call(self, x: Any, training: bool = False) -> Any:
        return self.last(self.first(x))

    @property
    def metrics(self) -> list[Any]:
        return [self.mean]

    def compute_loss_and_updates(
        self, weights: Any, others: Any, x: Any, y: Any, training: bool = False
    ) -> Any:
        prediction, others = self.stateless_call(weights, others, x, training=training)
        return self.of(y, prediction), (prediction, others)

    def train_step(self, state: Any, data: Any) -> Any:
        weights, others, slots, sums = state
        x, y, _ = data
        derive = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (_, others)), grads = derive(weights, others, x, y, training=True)
        weights, slots = self.optimizer.stateless_apply(slots, grads, weights)
        sums = self.mean.stateless_update_state(sums, loss)
        return {"loss": self.mean.stateless_result(sums)}, (weights, others, slots, sums)


class Rebuilt(Guide):
    """Derives within a function that is compiled by itself: its layers are not seen."""

    def train_step(self, state: Any, data: Any) -> Any:
        weights, others, slots, sums = state
        x, y, _ = data

        @jax.jit
        def derive(weights: Any) -> Any:
            return jax.value_and_grad(
                lambda w: self.of(y, self.stateless_call(w, others, x)[0])
            )(weights)

        loss, grads = derive(weights)
        weights, slots = self.optimizer.stateless_apply(slots, grads, weights)
        new = [list(part) for part in (weights, others, slots, sums)]
        return {"loss": loss}, tuple(new)


def sequential(**options: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input((3,)),
            L.Dense(8, activation="relu", name="first"),
            L.Dense(1, name="last"),
        ]
    )
    model.compile("adam", "mse", **options)
    return model


def rematerialized() -> Any:
    with keras.RematScope(mode="full"):
        layers = [L.Dense(8, name="first"), L.Dense(1, name="last")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("adam", "mse")
    return model


def rematerialized_as_a_whole() -> Any:
    with keras.RematScope(mode="full"):
        return sequential()


def own(cls: Any) -> Any:
    model = cls()
    model.compile("adam")
    return model


def watching(place: Path, names: list[str]) -> list[NanWatch]:
    return [NanWatch(place / name, experiments=0) for name in names]


MODELS = {
    "guide": lambda: own(Guide),
    "rebuilt": lambda: own(Rebuilt),
    "rematerialized": rematerialized,
    "rematerialized as a whole": rematerialized_as_a_whole,
    "several steps a call": lambda: sequential(steps_per_execution=5),
    "not compiled": lambda: sequential(jit_compile=False),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_a_step_of_any_kind_is_exact_and_trains_as_before(
    name: str, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(BATCH * STEPS, 3)).astype("float32")
    bad = x.copy()
    bad[7 * BATCH + 2, 1] = np.nan
    y = x.sum(axis=1, keepdims=True)
    trained = []
    for data, watches in ((x, []), (x, ["clean"]), (bad, ["bad"])):
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        model = MODELS[name]()
        fit(model, (data, y, np.ones(len(y))), *watching(tmp_path, watches))
        trained.append(state(model))
        assert not {"train_step", "compute_loss", "_make_function"} & set(vars(model))
    for a, b in zip(trained[0], trained[1], strict=True):
        np.testing.assert_array_equal(a, b)
    clean, log = read_log(tmp_path / "clean"), read_log(tmp_path / "bad")
    assert clean.status.status == "clean" and clean.status.steps == STEPS
    first = log.episodes[0]
    assert first.start.step == 7 and first.tensors[0].kind == "input"
    assert (first.tensors[0].num_nan, first.tensors[0].row) == (1, 2)
    assert log.status.onset is not None and log.status.onset.step == 7
    layers = {t.name for t in first.tensors if t.kind == "activation"}
    if name in ("rebuilt", "rematerialized as a whole"):
        notes = " ".join(log.session.notes)
        assert not layers and "loop or branch" in notes and "'first'" in notes
    else:
        assert {"first", "last"} <= layers


def test_what_a_callback_sets_is_part_of_what_is_run_again(tmp_path: Path) -> None:
    class Sets(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                self.model.jax_state_sync()
                weight = self.model.get_layer("last").kernel
                weight.assign(np.full(weight.shape, 1e30, "float32"))

    keras.utils.set_random_seed(1)
    model = sequential()
    model.build((None, 3))
    x, y, weights = data_of(model)
    fit(model, (x, y, weights), Sets(), *watching(tmp_path, [""]))
    first = read_log(tmp_path).episodes[0]
    # The square of a prediction near 1e30 is beyond float32.
    assert first.start.step == 6 and first.tensors[0].kind == "loss"


def test_on_eight_devices(tmp_path: Path) -> None:
    code = """
        import sys
        import keras
        import numpy as np
        from tb_nanwatch import NanWatch
        devices = keras.distribution.list_devices()
        assert len(devices) == 8
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        x = np.random.default_rng(0).normal(size=(160, 3)).astype("float32")
        y = x.sum(axis=1, keepdims=True)
        x[16 * 6 + 9, 1] = np.nan
        trained = []
        for watches in ([], [NanWatch(sys.argv[1])]):
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
            model.compile("adam", "mse")
            model.fit(x, y, batch_size=16, shuffle=False, verbose=0, callbacks=watches)
            trained.append([np.asarray(v.value) for v in (*model.variables, *model.optimizer.variables)])
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*trained))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    first = read_log(tmp_path).episodes[0]
    assert first.start.step == 6 and first.tensors[0].kind == "input"
    assert (first.tensors[0].num_nan, first.tensors[0].row) == (1, 9)
