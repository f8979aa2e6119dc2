"""A loss scale at its end: skipped steps are exact to the last, and the run has stalled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.record import schema
from tb_nanwatch.writing.recording.loss_scale import LossScale
from tests.writing.logs import Log, read_log

BATCH = 4


class Oracle(keras.callbacks.Callback):
    """Counts by the inner optimizer's own count of updates, and reads the scale."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[int] = []
        self.scales: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        optimizer: Any = self.model.optimizer
        self.updates.append(int(optimizer.inner_optimizer.iterations.numpy()))
        self.scales.append(float(optimizer.dynamic_scale.numpy()))


@tf.custom_gradient
def steep(x: Any, flag: Any) -> Any:
    """Returns x; of it the gradient is infinite where the batch is flagged."""

    def gradient(upstream: Any) -> Any:
        factor = tf.where(tf.reduce_any(flag > 0), np.inf, 1.0)
        return upstream * tf.cast(factor, upstream.dtype), None

    return x, gradient


class Steep(keras.layers.Layer):
    def call(self, x: Any, flag: Any) -> Any:
        return steep(x, flag)


def train(
    log_dir: Path, flagged: Any, optimizer: Any, *callbacks: Any, **how: Any
) -> Log:
    """Trains a step for each of `flagged`, whose gradients are infinite where it is true."""
    keras.utils.set_random_seed(1)
    options = how.pop("options", {})
    x = keras.Input((3,), name="x")
    flag = keras.Input((1,), name="flag")
    h = Steep(name="steep")(keras.layers.Dense(4, name="first")(x), flag)
    model = keras.Model([x, flag], keras.layers.Dense(2, name="last")(h))
    model.compile(optimizer, "mse", auto_scale_loss=False, **how)
    flags = np.repeat(np.asarray(flagged, np.float32), BATCH)[:, None]
    data = np.random.RandomState(0).randn(len(flags), 3).astype(np.float32)
    watch = NanWatch(log_dir, **options)
    model.fit(
        [data, flags],
        data[:, :2],
        BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks, watch],
    )
    return read_log(log_dir)


def scaled(initial_scale: float, growth: int = 2000) -> Any:
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e-3),
        initial_scale=initial_scale,
        dynamic_growth_steps=growth,
    )


HOW = {
    "graph": {"jit_compile": False},
    "graph, 7 steps a call": {"jit_compile": False, "steps_per_execution": 7},
    "XLA": {"jit_compile": True},
    "XLA, 7 steps a call": {"jit_compile": True, "steps_per_execution": 7},
    "eager": {"run_eagerly": True},
}


@pytest.mark.parametrize("how", HOW)
def test_skipped_steps_are_counted_until_the_scale_is_zero(
    tmp_path: Path, how: str
) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    steps = 210
    # The last of those that are not flagged comes at a scale of which no row can tell.
    fine = {0, 1, 2, 5, 100}
    oracle = Oracle()
    flagged = [i not in fine for i in range(steps)]
    status = train(tmp_path, flagged, scaled(2.0**15), oracle, **HOW[how]).status
    assert oracle.scales[-1] == 0.0 and 0 < min(s for s in oracle.scales if s) < 1e-19
    assert 2 < oracle.updates[-1] <= len(fine)  # Keras' own count
    assert status.lane_skipped.sum() == steps - oracle.updates[-1]
    assert status.last_update == 100
    assert status.lane_loss_scale[-1] == 0.0
    if "calls" not in how and len(oracle.scales) == steps:
        # In points of several steps too the scale is that of the last.
        told, seen = status.lane_loss_scale, np.array(oracle.scales, np.float32)
        np.testing.assert_array_equal(told, seen[status.lane_steps])
    assert status.status == "stalled"
    # XLA keeps no more than four steps of a call to be looked at beside.
    assert status.onset.step == (7 if how == "XLA, 7 steps a call" else 6)
    assert (status.origin.kind, status.origin.name) == ("gradient", "first/bias")
    assert not status.recovered
    assert status.steps_after_onset == steps - 1 - status.onset.step


def test_a_scale_of_zero_that_breaks_the_weights_is_the_stall_s_fault(
    tmp_path: Path,
) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    flagged = [i >= 3 and i != 190 for i in range(200)]
    oracle = Oracle()
    log = train(tmp_path, flagged, scaled(2.0**15), oracle, jit_compile=False)
    status = log.status
    assert status.lane_skipped.sum() == 200 - oracle.updates[-1]
    assert status.status == "diverged"  # gradients of 0 were divided by a scale of 0
    assert (status.onset.step, status.origin.kind) == (3, "gradient")


def test_updates_of_nothing_are_a_stall_too(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    # As a second fit goes on with the scale that a first one has come to.
    status = train(tmp_path, [False] * 80, scaled(2.0**-60), jit_compile=False).status
    assert status.lane_skipped.sum() == 0 and status.lost_updates == 80
    assert (status.status, status.onset.step, status.origin) == ("stalled", 0, None)


def test_a_look_tells_the_scale_of_which_no_row_can(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    oracle = Oracle()
    # It grows in steps that are not looked at; the skipped one is.
    flagged = [i == 30 for i in range(31)]
    log = train(tmp_path, flagged, scaled(2.0**-90, 4), oracle, jit_compile=False)
    status = log.status
    assert oracle.scales[-1] == 2.0**-84
    assert status.lane_loss_scale[-1] == np.float32(oracle.scales[-1])
    assert status.lane_skipped.sum() == 1 == 31 - oracle.updates[-1]


# --- Silent -------------------------------------------------------------------------


def test_a_scale_that_looks_for_one_that_fits_is_no_stall(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    flagged = [i < 16 for i in range(120)]  # 2**15 to below 1, by design
    oracle = Oracle()
    status = train(tmp_path, flagged, scaled(2.0**15), oracle).status
    assert status.lane_skipped.sum() == 16 == 120 - oracle.updates[-1]
    assert status.status == "contained"


def test_every_second_step_is_skipped_where_the_scale_grows_in_every_other(
    tmp_path: Path,
) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    flagged = [i < 15 or i % 2 == 0 for i in range(200)]
    oracle = Oracle()
    status = train(tmp_path, flagged, scaled(2.0**15, growth=1), oracle).status
    assert status.lane_skipped.sum() == 200 - oracle.updates[-1] > 100
    assert status.status == "contained"


def test_float32_has_no_scale_to_stall(tmp_path: Path) -> None:
    status = train(tmp_path, [False] * 80, "sgd").status
    assert (status.status, status.last_update, status.lost_updates) == ("clean", None, 0)


# --- What is said -------------------------------------------------------------------


def log_of_probability(y: Any, p: Any) -> Any:
    """A cross-entropy of one's own, whose 1e-8 is 0 in float16."""
    return -keras.ops.mean(keras.ops.sum(y * keras.ops.log(p + 1e-8), axis=-1))


@pytest.mark.parametrize("mode", ["record", "raise"])
def test_a_stall_is_told_at_once_and_ends_nothing(
    tmp_path: Path, mode: Any, capsys: Any
) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(18)
    rng = np.random.default_rng(18)
    x = rng.normal(0, 3, (640, 8)).astype("float32")
    kind = np.argmax(x[:, :4], axis=1)
    kind[::40] = np.argmin(x[::40, :4], axis=1)  # a wrong label in nearly every batch

    class Custom(keras.Model):
        @property
        def metrics(self) -> list[Any]:
            return []

        def train_step(self, data: Any) -> Any:
            features, labels = data
            with tf.GradientTape() as tape:
                p = self(features, training=True)
                loss = log_of_probability(keras.ops.cast(labels, p.dtype), p)
                total = self.optimizer.scale_loss(keras.ops.cast(loss, "float32"))
            variables = self.trainable_variables
            self.optimizer.apply(tape.gradient(total, variables), variables)
            return {"nll": keras.ops.cast(loss, "float32")}

    inputs = keras.Input((8,))
    h = keras.layers.Dense(64, activation="relu", name="first")(inputs)
    model = Custom(inputs, keras.layers.Dense(4, activation="softmax", name="last")(h))
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    oracle = Oracle()
    watch = NanWatch(tmp_path, on_nonfinite=mode)
    model.fit(x, np.eye(4)[kind], 32, 12, verbose=0, callbacks=[oracle, watch])
    log = read_log(tmp_path)
    status = log.status
    assert (status.state, status.status, status.steps) == ("finished", "stalled", 240)
    assert status.lane_skipped.sum() == 240 - oracle.updates[-1] > 120
    at_once, at_the_end = capsys.readouterr().out.strip().split("\n\n")
    at_once = " ".join(at_once.split())  # lines are wrapped
    assert at_once.startswith("NaN Watch: most steps are skipped since epoch ")
    assert "steps were skipped" in at_once and at_once.endswith("Training goes on.")
    assert " stalled at epoch" in at_the_end.splitlines()[0]
    (found,) = (r.result for r in log.all("postmortem"))
    assert found.reproduced and found.op == "tf.math.log" and found.dtype == "float16"
    assert found.source.text.startswith("return -keras.ops.mean")
    assert list(tmp_path.glob("nanwatch_capsule*"))


# --- The rule -----------------------------------------------------------------------


def follow(scale: LossScale, skipped: Any) -> None:
    """Follows the first steps of a training, of which these are skipped."""
    n = len(skipped)
    scales = scale.scale * 0.5 ** np.cumsum(skipped)
    scale.follow(0, scales, np.array(skipped), np.ones(n, np.bool_))


def test_the_window_is_four_times_the_halvings_to_below_one() -> None:
    assert LossScale(2.0**15).window == 64
    assert LossScale(1.0).window == 64  # of a training that is gone on with
    assert LossScale(2.0**30).window == 4 * 31


@pytest.mark.parametrize("n", [32, 33])
def test_more_than_half_of_the_window(n: int) -> None:
    scale = LossScale(2.0**15)
    follow(scale, [True] * n)
    assert scale.stalled == (n == 33)
    assert scale.skipped == n and scale.last_update is None
    assert scale.stalled_by == (32 if n == 33 else None)
    if scale.stalled:
        assert scale.stalled_at == 15  # the first that left the scale below 1


def test_skips_that_lie_apart_are_no_stall() -> None:
    scale = LossScale(2.0**15)
    follow(scale, [i % 2 == 1 for i in range(70)])  # just as many as are not
    assert scale.skipped == 35 and scale.scale < 1 and not scale.stalled


def test_it_recovers_where_the_scale_does() -> None:
    scale = LossScale(2.0**15)
    follow(scale, [True] * 40)
    assert scale.stalled and not scale.recovered
    scale.follow(40, np.array([1.0]), np.array([False]), np.array([True]))
    assert scale.recovered and scale.last_update == 40


def test_it_counts_as_bad_and_lies_between_contained_and_score_lost() -> None:
    order = schema.STATUSES
    assert order.index("contained") + 1 == order.index("stalled")
    assert order.index("stalled") + 1 == order.index("score_lost")
    assert "stalled" in schema.BAD_STATUSES
