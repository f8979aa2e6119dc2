"""A healthy step holds nothing for a look; one that stands out is run again beside."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.backends.tensorflow import looks
from tb_nanwatch.writing.backends.tensorflow.beside import Beside
from tb_nanwatch.writing.backends.tensorflow.tracing import Measured, Tracer
from tb_nanwatch.writing.backends.tracing import Found
from tests.writing.logs import read_log

# What reads a tensor and keeps nothing of it.
_READERS = {"L2Loss", "Cast", "Shape"}


def convolutional() -> Any:
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(32, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(x))
    model.compile("adam", "mse")
    return model


def images(n: int = 64) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8, 8, 4)).astype(np.float32)
    return x, x.mean(axis=(1, 2, 3))[:, None]


def takers(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Returns by the name of each activation and gradient what operations take it."""
    found: dict[str, set[str]] = {}
    record = Beside.record_gated

    def recorded(graph: Beside, step: Any, met: list[Found]) -> bool:
        before = {id(f.tensor): {op.name for op in f.tensor.consumers()} for f in met}
        done = record(graph, step, met)
        for f in met:
            if f.kind in ("activation", "gradient"):
                new = [
                    op
                    for op in f.tensor.consumers()
                    if op.name not in before[id(f.tensor)]
                ]
                types = {op.type for op in new}
                types |= {op.type for op in f.tensor.consumers()} & {"PyFuncStateless"}
                found.setdefault(f"{f.kind} {f.name}", set()).update(types)
        return done

    monkeypatch.setattr(Beside, "record_gated", recorded)
    return found


def test_a_healthy_step_holds_no_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = takers(monkeypatch)
    x, y = images()
    convolutional().fit(x, y, 16, 2, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert {"activation relu", "gradient conv/kernel"} <= found.keys()
    assert set().union(*found.values()) <= _READERS
    # What is proved is not read at all.
    assert not found["activation relu"] and not found["activation norm"]
    log = read_log(tmp_path)
    assert log.status.status == "clean" and log.status.steps == 8


class Overflows(keras.optimizers.SGD):
    """Its update alone overflows, from a step on; gradients stay finite."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        bad = tf.cast(self.iterations >= 5, tf.float32) * np.float32(3e38) * 10.0
        wrong = tf.where(self.iterations >= 5, gradient + bad, gradient)
        super().update_step(wrong, variable, learning_rate)


def test_what_the_update_alone_makes_is_counted_in_the_variables(tmp_path: Path) -> None:
    model = convolutional()
    model.compile(Overflows(0.01), "mse")
    x, y = images(96)
    watch = NanWatch(tmp_path, on_nonfinite="stop", experiments=0)
    model.fit(x, y, 16, 2, shuffle=False, verbose=0, callbacks=[watch])
    log = read_log(tmp_path)
    assert log.status.status == "diverged" and log.status.onset.step == 5
    origin = log.status.origin
    assert origin.kind in ("weight", "optimizer")
    (episode,) = log.episodes
    counted = {t.name: t.num_nan + t.num_pos_inf + t.num_neg_inf for t in episode.tensors}
    for variable in model.trainable_variables:
        value = np.asarray(variable)
        name = variable.path
        assert counted[name] == np.sum(~np.isfinite(value)), name


def test_a_metric_that_goes_bad_after_the_update_is_seen(tmp_path: Path) -> None:
    """It is computed after the gate, and no variable."""
    model = convolutional()

    def odd(y_true: Any, y_pred: Any) -> Any:
        # The batch's first label marks it.
        mark = y_true[0, 0]
        return tf.where(mark > 100.0, tf.math.log(-mark), 0.0) * tf.ones_like(y_true)

    model.compile("adam", loss=lambda t, p: tf.reduce_mean(p * p), metrics=[odd])
    x, y = images(96)
    y[80] = 1000.0
    model.fit(x, y, 16, 1, shuffle=False, verbose=0, callbacks=[NanWatch(tmp_path)])
    log = read_log(tmp_path)
    (episode,) = log.episodes
    assert episode.start.step == 5
    assert [t.kind for t in episode.tensors] == ["metric"]


def test_a_fit_of_several_updates_is_looked_at_as_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated: list[bool] = []
    record = Beside.record_gated
    monkeypatch.setattr(
        Beside,
        "record_gated",
        lambda *args: gated.append(record(*args)) or gated[-1],
    )

    class Twice(keras.Model):
        def train_step(self, data: Any) -> Any:
            super().train_step(data)
            return super().train_step(data)

    inputs = keras.Input((4,))
    model = Twice(inputs, keras.layers.Dense(1)(inputs))
    model.compile("adam", "mse")
    x = np.ones((32, 4), np.float32)
    x[16] = np.nan
    model.fit(
        x,
        np.ones((32, 1)),
        8,
        1,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(tmp_path)],
    )
    assert gated and not any(gated)
    log = read_log(tmp_path)
    assert log.status.onset.step == 2 and log.status.origin.kind == "input"


class Counts(keras.layers.Layer):
    """Its Python counts its calls, in a number, a list and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.shapes: list[Any] = []
        self.last: dict[str, Any] = {}

    def call(self, x: Any) -> Any:
        self.calls += 1
        self.shapes.append(tuple(x.shape))
        self.last[f"call {self.calls}"] = x
        return x * (1.0 + 0.01 * self.calls)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_a_look_leaves_no_trace_in_the_layers_own_python(
    tmp_path: Path, jit: bool
) -> None:
    def trained(*callbacks: Any) -> tuple[int, list[Any], int, list[Any], Any]:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,))
        layer = Counts()
        model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
        model.compile("adam", "mse", jit_compile=jit)
        x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
        x[40] = np.nan
        fitted = model.fit(
            *(x, np.ones((64, 1), np.float32), 8, 2),
            verbose=0,
            validation_data=(x[:8], np.ones((8, 1), np.float32)),
            callbacks=list(callbacks),
        )
        weights = [w.tobytes() for w in model.get_weights()]
        return (
            *(layer.calls, list(layer.shapes), len(layer.last), weights),
            repr(fitted.history),
        )

    assert trained(NanWatch(tmp_path)) == trained()


def test_a_number_in_bfloat16_is_looked_at(tmp_path: Path) -> None:
    def total(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_sum(tf.cast(tf.square(y_true - y_pred), tf.bfloat16))

    class Whole(keras.Model):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any, **kw: Any) -> Any:
            return total(y, y_pred)

    inputs = keras.Input((4,))
    model = Whole(inputs, keras.layers.Dense(1)(inputs))
    model.compile("adam")
    x = np.ones((32, 4), np.float32)
    x[24] = np.inf
    watch = NanWatch(tmp_path, experiments=0)
    model.fit(x, np.ones((32, 1)), 4, 1, shuffle=False, verbose=0, callbacks=[watch])
    log = read_log(tmp_path)
    assert log.status.status == "diverged" and log.status.onset.step == 6
    losses = [p for p in log.session.train_probes if p.kind == "loss"]
    assert any(p.dtype == "bfloat16" and not p.shape for p in losses)


def test_what_is_measured_as_it_is_met_is_not_held() -> None:
    tracer = Tracer(convolutional(), lambda note: None)
    tracer.measures = True
    data = tf.constant([[1.0, -2.0]])
    with tracer.tracing() as found:
        tracer.add("input", "input", "", data)
        output = tf.constant([[3.0, np.inf], [0.0, 2.0]])
        known = weakref.ref(output)
        tracer.add("activation", "flat", "flat", data)
        tracer.add("activation", "last", "last", output)
        tracer.add("prediction", "prediction", "", output)
        del output
        gc.collect()
        assert known() is None
    same, also, last, prediction = (f.tensor for f in found)
    # What is held anyway stays itself; what is met twice is one tensor.
    assert same is also is data and last is prediction
    health = last.health
    assert (health.num_pos_inf, health.min, health.max) == (1, 0.0, 3.0)
    assert found[2].probe().shape == [2, 2] and found[2].probe().dtype == "float32"


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_a_look_holds_no_output_of_a_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jit: bool
) -> None:
    seen: list[list[Found]] = []
    run_again = looks.run_again

    def again(model: Any, kept: Any, trained: Any, run: Callable[..., Any]) -> Any:
        def noted(data: Any, compiled: bool) -> list[Found]:
            seen.append(run(data, compiled))
            return seen[-1]

        return run_again(model, kept, trained, noted)

    monkeypatch.setattr(looks, "run_again", again)
    x, y = images()
    model = convolutional()
    model.compile("adam", "mse", jit_compile=jit)
    model.fit(x, y, 16, 1, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert len(seen) == 4
    for found in seen:
        outputs = [f for f in found if f.kind == "activation"]
        assert len(outputs) == 5
        assert all(isinstance(f.tensor, Measured) for f in outputs)
