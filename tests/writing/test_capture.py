"""The capsule holds the step at which a run went bad, as it was before its update."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.errors import CapsuleError, NonFiniteError
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.replay import replay
from tb_nanwatch.writing.capsules import CAPSULE
from tests.tuner.searches import overview
from tests.writing.logs import read_log

L = keras.layers
BATCH = 8
BAD_STEP = 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = X.sum(1, keepdims=True)
BAD = X.copy()
BAD[BAD_STEP * BATCH + 3, 2] = np.nan


class Before(keras.callbacks.Callback):
    """Notes all variables before each step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[tuple[str, str], Any]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.steps.append(
            {("model", v.path): _value(v) for v in self.model.variables}
            | {("optimizer", v.path): _value(v) for v in self.model.optimizer.variables}
        )


def _value(variable: Any) -> Any:
    value = variable.value
    return np.array(getattr(value, "values", [value])[0].numpy())


def mlp(**options: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation="tanh"),
            L.Dropout(0.3),
            L.BatchNormalization(),
            L.Dense(1),
        ]
    )
    model.compile(**({"optimizer": "adam", "loss": "mse", "metrics": ["mae"]} | options))
    return model


def schedule_free() -> Any:
    # It sets slots while it is built, in the first step, as nobody may do before.
    if not hasattr(keras.optimizers, "ScheduleFreeAdamW"):
        pytest.skip(f"Keras {keras.__version__} has no ScheduleFreeAdamW")
    return keras.optimizers.ScheduleFreeAdamW(1e-2)


def lstm() -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Reshape((3, 2)),
            L.LSTM(4, recurrent_dropout=0.2),
            L.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


class OwnStep(keras.Model):
    """A model with layers and a training step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.drop, self.out = L.Dense(4), L.Dropout(0.5), L.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.out(self.drop(self.dense(x), training=training))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def own_step() -> Any:
    keras.utils.set_random_seed(1)
    model = OwnStep()
    model.compile("adam", "mse")
    return model


def on_two_replicas() -> Any:
    # Collectives of models of other sizes in one process would be taken for these.
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        return mlp()


def fit(model: Any, log_dir: Path, x: Any = BAD, y: Any = Y, **options: Any) -> Before:
    before = Before()
    # Of the step that is kept; what is tried afterwards is asked where a test says so.
    watch = NanWatch(log_dir, **({"experiments": 0} | options.pop("watch", {})))
    settings = {"batch_size": BATCH, "epochs": 1, "shuffle": False, "verbose": 0}
    model.fit(x, y, callbacks=[watch, before], **(settings | options))
    return before


def capsules(log_dir: Path) -> list[Path]:
    return sorted(log_dir.glob(f"**/{CAPSULE}*"))


def the_capsule(log_dir: Path) -> Capsule:
    (place,) = capsules(log_dir)
    return Capsule.read(place)


@pytest.mark.parametrize(
    "make",
    [
        mlp,
        lambda: mlp(jit_compile=True),
        lambda: mlp(optimizer=schedule_free(), jit_compile=True),
        lambda: mlp(run_eagerly=True),
        lambda: mlp(optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1)),
        lambda: mlp(optimizer=keras.optimizers.Nadam(1e-2, global_clipnorm=1.0)),
        lstm,
        own_step,
    ],
    ids=[
        "graph",
        "xla",
        "schedule_free",
        "eager",
        "weight_decay",
        "nadam",
        "lstm",
        "own_step",
    ],
)
def test_everything_is_as_before_the_update(tmp_path: Path, make: Any) -> None:
    model = make()
    before = fit(model, tmp_path)
    capsule = the_capsule(tmp_path)
    assert (capsule.position.step, capsule.origin.kind) == (BAD_STEP, "input")
    assert not capsule.partial, capsule.missing
    rows = slice(BAD_STEP * BATCH, (BAD_STEP + 1) * BATCH)
    np.testing.assert_array_equal(capsule.data[0], BAD[rows])
    np.testing.assert_array_equal(capsule.data[1], Y[rows])
    metrics = {v.path for v in model.metrics_variables}
    kept = {(v.role, v.path): v.value for v in capsule.variables if v.path not in metrics}
    expected = {k: v for k, v in before.steps[BAD_STEP].items() if k[1] not in metrics}
    assert {k for k in kept if k[0] != "random"} == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(kept[key], value, err_msg=str(key))
    # Not vacuous: the step before held other weights.
    assert any(
        not np.array_equal(before.steps[BAD_STEP - 1][key], value)
        for key, value in expected.items()
        if key[0] == "model"
    )


def test_the_replica_that_saw_it(tmp_path: Path) -> None:
    if len(tf.config.list_logical_devices("CPU")) < 2:
        pytest.skip("needs two logical devices; tests/conftest.py makes them")
    before = fit(on_two_replicas(), tmp_path)
    capsule = the_capsule(tmp_path)
    assert (capsule.replica, capsule.replicas) == (0, 2)  # row 3 of 8
    first = BAD_STEP * BATCH
    np.testing.assert_array_equal(capsule.data[0], BAD[first : first + BATCH // 2])
    expected = before.steps[BAD_STEP]
    for v in capsule.variables:
        if v.value is not None and (v.role, v.path) in expected:
            np.testing.assert_array_equal(v.value, expected[v.role, v.path])


def test_steps_within_one_execution(tmp_path: Path) -> None:
    fit(mlp(), tmp_path / "one")
    fit(mlp(steps_per_execution=4), tmp_path / "four")
    one, four = the_capsule(tmp_path / "one"), the_capsule(tmp_path / "four")
    assert four.position.step == BAD_STEP
    for a, b in zip(one.variables, four.variables, strict=True):
        if a.value is not None:
            np.testing.assert_array_equal(a.value, b.value, err_msg=a.path)


def test_validation(tmp_path: Path) -> None:
    fit(mlp(), tmp_path, X, validation_data=(BAD, Y))
    capsule = the_capsule(tmp_path)
    assert (capsule.position.phase, capsule.position.batch) == ("validation", BAD_STEP)
    assert not capsule.partial
    rows = slice(BAD_STEP * BATCH, (BAD_STEP + 1) * BATCH)
    np.testing.assert_array_equal(capsule.data[0], BAD[rows])


def test_sums_are_those_of_the_step(tmp_path: Path) -> None:
    fit(mlp(), tmp_path)
    capsule = the_capsule(tmp_path)
    sums = {(s.kind, s.name): s.value for s in capsule.sums}
    assert np.isnan(sums["input", "input"])
    label = capsule.data[1].astype(np.float64)
    assert sums["label", "label"] == pytest.approx((label**2).sum() / 2, rel=1e-6)


@pytest.mark.parametrize("again", [False, True])
def test_what_shows_only_after_the_update_is_partial_or_run_again(
    again: bool, tmp_path: Path
) -> None:
    class Poisoned(keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            late = keras.ops.equal(self.iterations, BAD_STEP)
            self.assign(variable, keras.ops.where(late, np.nan, variable))

    watch = {} if again else {"rewind_bytes": 0}
    fit(mlp(optimizer=Poisoned(0.1)), tmp_path, X, watch=watch)
    capsule = the_capsule(tmp_path)
    assert (capsule.position.step, capsule.origin.kind) == (BAD_STEP, "weight")
    assert capsule.partial is not again
    if again:
        values = [s.value for s in capsule.variables if s.value is not None]
        assert all(np.isfinite(v).all() for v in values) and capsule.missing == []
        counts = [s.value for s in capsule.variables if "iteration" in s.path]
        assert counts == [BAD_STEP]
    else:
        assert "after the step's update" in capsule.missing[0]


def sparse_batches(bad: bool) -> tuple[Any, Any]:
    """Returns a model of sparse inputs, and data with a bad label where asked for."""
    model = keras.Sequential([keras.Input((6,), sparse=True), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    y = np.ones((64, 1), np.float32)
    y[BAD_STEP * BATCH] = np.nan if bad else 1
    x = tf.sparse.from_dense(np.eye(64, 6, dtype=np.float32))
    return model, tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)


@pytest.mark.parametrize("seconds", [0, 10])
def test_a_sparse_batch_is_said_to_be_missing(seconds: float, tmp_path: Path) -> None:
    model, data = sparse_batches(bad=True)
    watch = NanWatch(tmp_path, experiments=seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NanWatchWarning)
        model.fit(data, shuffle=False, verbose=0, callbacks=[watch])
    capsule = the_capsule(tmp_path)
    assert capsule.partial and not capsule.has_batch
    assert capsule.missing == ["the batch holds values that are no plain tensors"]
    (record,) = read_log(tmp_path).all("postmortem")
    assert record.result.reason == (
        "The step cannot be run again: the batch holds values that are no plain tensors."
    )
    assert not record.result.reproduced
    # No command is offered that could do nothing.
    assert (record.result.capsule, record.result.experiments) == ("", [])
    with pytest.raises(CapsuleError, match="the batch holds values that are no plain"):
        replay(capsules(tmp_path)[0])


def test_of_a_sparse_batch_that_stays_finite_nothing_is_said(tmp_path: Path) -> None:
    model, data = sparse_batches(bad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NanWatchWarning)
        model.fit(
            data,
            shuffle=False,
            verbose=0,
            validation_data=data,  # which is looked at as it runs
            callbacks=[NanWatch(tmp_path)],
        )
    assert read_log(tmp_path).status.status == "clean"
    assert read_log(tmp_path).all("postmortem") == [] and capsules(tmp_path) == []


def test_silent(tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    fit(mlp(), clean, X)
    # A metric that is no objective reaches nothing that lasts.
    contained = tmp_path / "contained"
    model = mlp(metrics=[lambda y, p: keras.ops.mean(y / (y * 0))])
    fit(model, contained, X)
    off = tmp_path / "off"
    fit(mlp(), off, watch={"capsules": 0})
    small = tmp_path / "small"
    fit(mlp(), small, watch={"capsule_bytes": 100})
    assert not [p for d in (clean, contained, off, small) for p in capsules(d)]


def test_at_most_so_many(tmp_path: Path) -> None:
    for i in range(3):
        fit(mlp(), tmp_path / str(i), watch={"capsules": 2})
    assert len(capsules(tmp_path)) == 3  # each run is a log directory of its own
    fit(mlp(), tmp_path, watch={"capsules": 3})
    assert len(capsules(tmp_path)) == 3
    shutil.rmtree(tmp_path / "0")
    fit(mlp(), tmp_path, watch={"capsules": 3})
    fit(mlp(), tmp_path, watch={"capsules": 4})  # a second attempt in one directory
    assert len(capsules(tmp_path)) == 4


def test_counterfactuals_went(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="counterfactuals was replaced by experiments"):
        NanWatch(tmp_path, counterfactuals=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'capsule'"):
        NanWatch(tmp_path, capsule=1)
    for value in (-1, float("nan"), float("inf"), True, "10"):
        with pytest.raises(ValueError, match="experiments must be a finite number"):
            NanWatch(tmp_path, experiments=value)


@pytest.mark.parametrize("name", ["capsules", "capsule_bytes", "rewind_bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "many"])
def test_invalid_arguments(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 0"):
        NanWatch(tmp_path, **{name: value})


def relative(y: Any, p: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y - p) / keras.ops.abs(y))  # the line


ZEROS = Y.copy()
ZEROS[BAD_STEP * BATCH + 3] = 0


@pytest.mark.parametrize("mode", ["record", "stop", "raise"])
def test_the_run_is_examined_at_its_end(tmp_path: Path, mode: str) -> None:
    model = mlp(loss=relative)
    watch = {"on_nonfinite": mode, "experiments": 10 if mode == "stop" else 0}
    try:
        fit(model, tmp_path, X, ZEROS, watch=watch)
    except NonFiniteError as e:
        assert mode == "raise" and "loss domain" in str(e)
    (run,) = overview(tmp_path)["runs"]
    found = run["postmortem"]
    assert found["reproduced"], found["reason"]
    source = Path(__file__).read_text().splitlines()
    line = next(i for i, text in enumerate(source, 1) if "# the line" in text)
    assert run["origin"]["op"] == "tf.math.divide"
    assert run["origin"]["source"] == f"tests/writing/test_capture.py:{line}"
    assert found["finding"] == f"1 of {BATCH} denominators is 0"
    assert Capsule.read(found["capsule"]).position.step == BAD_STEP
    if mode == "stop":
        finite = {c["change"]: c["finite"] for c in found["experiments"] if c["tried"]}
        assert finite["epsilon"] and finite["rows"] and not finite["unchanged"]
    assert run["causes"][0]["id"] == "loss_domain"


def test_the_post_mortem_changes_no_weight(tmp_path: Path) -> None:
    weights = []
    for options in ({"capsules": 0}, {"experiments": 10}):
        model = mlp(loss=relative)
        fit(model, tmp_path / str(len(weights)), X, ZEROS, watch=options)
        weights.append([v.numpy() for v in model.variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_post_mortem_is_no_training_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tb_nanwatch.record.schema import PostMortem
    from tb_nanwatch.writing.backends import tensorflow

    def slow(*_: Any, **__: Any) -> PostMortem:
        time.sleep(5)
        return PostMortem()

    monkeypatch.setattr(tensorflow, "examine", slow)
    began = time.monotonic()
    fit(mlp(loss=relative), tmp_path, X, ZEROS)
    without = time.monotonic() - began - 5
    assert overview(tmp_path)["searches"][0]["cost"]["seconds"] <= without + 0.1
