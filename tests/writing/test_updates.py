"""Update-to-weight ratios and largest activations are NumPy's on the steps themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import LANE_SERIES, LOOKED_SERIES, RANGE_COLUMNS, Probe
from tb_nanwatch.writing.recording import updates
from tb_nanwatch.writing.recording.observer import Layout
from tb_nanwatch.writing.recording.recorder import FIRST_LOOKS, LOOK_SHARE, Recorder
from tb_nanwatch.writing.recording.updates import Updates, is_kernel
from tests.writing.faults import two_replicas
from tests.writing.logs import read_log

L = keras.layers
RATIO = LANE_SERIES.index("update_ratio")
LARGEST = LANE_SERIES.index("activation_max")
COLUMN = RANGE_COLUMNS.index("update_ratio")
BATCH, STEPS = 8, 12


def build(optimizer: Any, frozen: bool = False) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            L.Dense(7, "tanh", name="first"),
            L.Dense(4, name="middle", trainable=not frozen),
            L.Dense(1, name="last"),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def data() -> tuple[Any, Any]:
    rng = np.random.RandomState(5)
    x = rng.randn(BATCH * STEPS, 5).astype(np.float32)
    return x, rng.randn(BATCH * STEPS, 1).astype(np.float32)


def norm(array: Any) -> float:
    return float(np.linalg.norm(np.asarray(array).astype(np.float64)))


def played(model: Any) -> tuple[list[dict[str, float]], list[float]]:
    """Trains in plain eager steps.

    Returns:
        For each step the ratio of each kernel, and the largest |activation|.
    """
    x, y = data()
    kernels = {
        f"{n}/kernel": model.get_layer(n).kernel for n in ("first", "middle", "last")
    }
    ratios, largest = [], []
    for step in range(STEPS):
        part = slice(step * BATCH, (step + 1) * BATCH)
        before = {name: k.numpy() for name, k in kernels.items()}
        with tf.GradientTape() as tape:
            h, outputs = tf.constant(x[part]), []
            for layer in model.layers:
                h = layer(h)
                outputs.append(h)
            loss = tf.reduce_mean(tf.square(h - y[part]))
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)
        ratios.append(
            {n: norm(k.numpy() - before[n]) / norm(before[n]) for n, k in kernels.items()}
        )
        largest.append(max(float(np.abs(o).max()) for o in outputs))
    return ratios, largest


def watched(model: Any, place: Path, **options: Any) -> Any:
    x, y = data()
    model.fit(
        x,
        y,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(place, **options)],
    )
    return read_log(place)


def lane(log: Any, series: int) -> Any:
    assert log.status.lane_steps.tolist() == list(range(STEPS))  # single steps
    return log.status.lane[:, series]


def per_kernel(log: Any) -> dict[str, Any]:
    """Returns the ratios of each step by kernel, from the ranges."""
    stats = np.concatenate([r.stats for r in log.all("ranges")])[:, :, COLUMN]
    return {
        p.name: stats[:, i]
        for i, p in enumerate(log.session.train_probes)
        if is_kernel(p)
    }


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.05),
        lambda: keras.optimizers.Adam(0.01),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    ],
    ids=["SGD", "Adam", "AdamW"],
)
def test_ratios_are_those_of_plain_steps(
    optimizer: Any, frozen: bool, tmp_path: Path
) -> None:
    ratios, largest = played(build(optimizer(), frozen))
    log = watched(build(optimizer(), frozen), tmp_path)
    known = range(1, FIRST_LOOKS)  # of step 0 nothing is known before
    shown = lane(log, RATIO)
    np.testing.assert_allclose(
        shown[1:FIRST_LOOKS], [max(ratios[s].values()) for s in known], rtol=1e-3
    )
    assert np.isnan(shown[0]) and np.isnan(shown[FIRST_LOOKS:]).all()
    found = per_kernel(log)
    assert found.keys() == ratios[0].keys()
    for name, series in found.items():
        np.testing.assert_allclose(
            series[1:FIRST_LOOKS], [ratios[s][name] for s in known], rtol=1e-4, atol=1e-9
        )
    # Weight decay is part of an update, and Keras leaves frozen variables out of it.
    assert (found["middle/kernel"][1:FIRST_LOOKS] == 0).all() == frozen
    np.testing.assert_allclose(
        lane(log, LARGEST)[:FIRST_LOOKS], largest[:FIRST_LOOKS], rtol=1e-3
    )
    assert np.isnan(lane(log, LARGEST)[FIRST_LOOKS:]).all()


def test_of_plain_gradient_descent_it_is_rate_times_gradient(tmp_path: Path) -> None:
    rate = 0.05
    log = watched(build(keras.optimizers.SGD(rate)), tmp_path)
    stats = np.concatenate([r.stats for r in log.all("ranges")])
    rms = stats[:, :, RANGE_COLUMNS.index("rms")]
    probes = [(p.kind, p.name) for p in log.session.train_probes]
    for name, series in per_kernel(log).items():
        gradient = rms[:, probes.index(("gradient", name))]
        weight = rms[:, probes.index(("weight", name))]
        for step in range(1, FIRST_LOOKS):
            expected = rate * gradient[step] / weight[step - 1]
            np.testing.assert_allclose(series[step], expected, rtol=1e-4)


def test_replicas_in_sync_have_the_ratio_of_one(tmp_path: Path) -> None:
    ratios, _ = played(build(keras.optimizers.SGD(0.05)))
    with two_replicas().scope():
        model = build(keras.optimizers.SGD(0.05))
    shown = lane(watched(model, tmp_path), RATIO)
    expected = [max(ratios[s].values()) for s in range(1, FIRST_LOOKS)]
    np.testing.assert_allclose(shown[1:FIRST_LOOKS], expected, rtol=2e-3)
    assert np.isnan(shown[FIRST_LOOKS:]).all()


@pytest.mark.parametrize("jit", [True, False])
def test_several_steps_in_a_call(jit: bool, tmp_path: Path) -> None:
    ratios, _ = played(build(keras.optimizers.SGD(0.05)))
    model = build(keras.optimizers.SGD(0.05))
    model.compile(
        keras.optimizers.SGD(0.05),
        "mse",
        jit_compile=jit,
        steps_per_execution=1 if jit else 4,
    )
    shown = lane(watched(model, tmp_path), RATIO)
    expected = [max(ratios[s].values()) for s in range(1, FIRST_LOOKS)]
    np.testing.assert_allclose(shown[1:FIRST_LOOKS], expected, rtol=2e-3)


def test_without_weights_there_is_no_ratio(tmp_path: Path) -> None:
    log = watched(build("sgd"), tmp_path, activations_only=True)
    assert np.isnan(lane(log, RATIO)).all()
    assert np.isfinite(lane(log, LARGEST)[:FIRST_LOOKS]).all()


def test_kernels_that_are_too_large_have_no_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 4 * (5 * 7 + 7 * 4 + 4)
    for limit, known in ((size - 1, False), (size, True)):
        monkeypatch.setattr(updates, "MAX_BYTES", limit)
        shown = lane(watched(build("sgd"), tmp_path / str(limit)), RATIO)
        assert np.isfinite(shown).any() == known


# --- Two looks in a row ---------------------------------------------------------


class Clock:
    now = 100.0
    passing = 0.0  # between two times that it is asked

    def __call__(self) -> float:
        self.now += self.passing
        return self.now


class Run:
    """Plays the part of the compiled step: a look where one is expected or asked for."""

    def __init__(self, kernels: bool = True, replicas: int = 1) -> None:
        self.clock = Clock()
        self.seconds = 0.0  # that a look takes
        self.recorder = Recorder(clock=self.clock, replicas=replicas)
        shape = [2, 4] if kernels else [8]
        self.layout = Layout(
            "train", [Probe("weight", "w", "", "float32", shape)], [0], [0], 1, False
        )
        self.replicas = replicas
        self.next: dict[int, bool] = dict.fromkeys(range(replicas), True)
        self.looked: list[tuple[int, int]] = []
        self.step = 0

    def run(self, value: float) -> None:
        weights = np.full((2, 4), value, np.float32)
        row = np.array([[np.square(weights).sum() / 2]], np.float32)
        for replica in range(self.replicas):
            if self.next[replica]:
                self.looked.append((replica, self.step))
                self.clock.passing = self.seconds
                e = self.recorder.observe(self.layout, replica, self.step, [weights])
                self.clock.passing = 0.0
                self.next[replica] = e.limit < 0
            self.recorder.rows(self.layout, replica, self.step, row)
        self.step += 1

    def ask(self) -> bool:
        asked = self.recorder.wants_look()
        if asked:
            self.next = dict.fromkeys(range(self.replicas), True)
        return asked

    def known(self) -> dict[int, float]:
        self.recorder.finish()
        buckets = self.recorder.take_buckets("train")
        return {b.end: float(b.updates[0]) for b in buckets if np.isfinite(b.updates[0])}


def steady(run: Run, steps: int) -> None:
    for _ in range(steps):
        run.run(1.0 + run.step)


def test_a_look_that_was_asked_for_is_a_pair() -> None:
    run = Run()
    steady(run, 10)
    assert not run.ask()  # not so soon
    run.clock.now += 2
    assert run.ask()
    steady(run, 10)
    assert [s for _, s in run.looked] == [0, 1, 2, 3, 10, 11]
    # The weights are 1 + step: an update is 1 over the step's own number.
    assert run.known() == pytest.approx({1: 1.0, 2: 1 / 2, 3: 1 / 3, 11: 1 / 11})


def test_a_step_that_stands_out_is_no_pair() -> None:
    run = Run()
    steady(run, 10)
    run.next[0] = True  # as after a row that the recorder did not expect
    steady(run, 10)
    assert [s for _, s in run.looked] == [0, 1, 2, 3, 10]
    assert 10 not in run.known()


def test_without_kernels_one_look_is_enough() -> None:
    run = Run(kernels=False)
    steady(run, 10)
    run.clock.now += 2
    assert run.ask()
    steady(run, 10)
    assert [s for _, s in run.looked] == [0, 1, 2, 3, 10]
    assert run.known() == {}


def test_one_of_the_replicas_is_enough_for_the_second_look() -> None:
    run = Run(replicas=2)
    steady(run, 10)
    run.clock.now += 2
    assert run.ask()
    steady(run, 10)
    assert [s for r, s in run.looked if r == 0] == [0, 1, 2, 3, 10, 11]
    assert [s for r, s in run.looked if r == 1] == [0, 1, 2, 3, 10]
    assert run.known() == pytest.approx({1: 1.0, 2: 1 / 2, 3: 1 / 3, 11: 1 / 11})


@pytest.mark.parametrize("look", [0.0, 0.002, 0.02])
@pytest.mark.parametrize("kernels", [True, False])
def test_pairs_take_no_more_of_the_time_than_looks(look: float, kernels: bool) -> None:
    run = Run(kernels)
    run.seconds = look
    steady(run, FIRST_LOOKS)
    looked, began = len(run.looked), run.clock.now
    asked = 0
    for _ in range(30_000):
        run.clock.now += 0.001
        asked += run.ask()
        run.run(1.0)
    seconds = run.clock.now - began
    looks = len(run.looked) - looked
    assert looks == pytest.approx((2 if kernels else 1) * asked, abs=1)
    assert asked <= seconds  # once a second at most
    assert asked > 0.1 * min(seconds, LOOK_SHARE * seconds / max(look, 1e-9))
    assert looks * look <= 1.1 * LOOK_SHARE * seconds


def test_the_copy_is_let_go() -> None:
    run = Run()
    steady(run, 2)
    assert run.recorder._updates._kept
    steady(run, 10)
    assert not run.recorder._updates._kept
    run.clock.now += 2
    run.ask()
    steady(run, 1)
    assert run.recorder._updates._kept
    run.next[0] = False  # the next step has another layout, and is not looked at
    steady(run, 2)
    assert not run.recorder._updates._kept
    run.clock.now += 2
    run.ask()
    steady(run, 1)
    run.recorder.finish()
    assert not run.recorder._updates._kept


# --- The ratio -------------------------------------------------------------------


def ratio(before: Any, after: Any) -> float:
    compared = Updates()
    assert compared.keep(4, {0: before})
    (found,) = compared.ratios(5, {0: after}).values()
    return found


@pytest.mark.parametrize(
    "dtype", ["float16", ml_dtypes.bfloat16, "float32", "float64", "complex64"]
)
def test_any_dtype(dtype: Any) -> None:
    rng = np.random.RandomState(0)
    before = rng.randn(40, 3).astype(dtype)
    after = (before + rng.randn(40, 3).astype(dtype) / 8).astype(dtype)
    wide = "complex128" if dtype == "complex64" else "float64"
    old, new = before.astype(wide), after.astype(wide)
    expected = np.linalg.norm(new - old) / np.linalg.norm(old)
    assert ratio(before, after) == pytest.approx(expected, rel=1e-12)


def test_what_has_no_ratio_is_nan() -> None:
    ones = np.ones((2, 2), np.float32)
    assert np.isnan(ratio(0 * ones, ones))  # all zero before
    assert np.isnan(ratio(ones, np.nan * ones))
    assert np.isnan(ratio(np.inf * ones, ones))
    assert ratio(ones, ones) == 0


def test_only_the_next_step_is_compared() -> None:
    ones, compared = np.ones((2, 2), np.float32), Updates()
    compared.keep(4, {0: ones})
    assert compared.ratios(6, {0: ones}) == {} and compared.ratios(4, {0: ones}) == {}
    assert compared.ratios(5, {1: ones}) == {}  # another kernel
    compared.release()
    assert compared.ratios(5, {0: ones}) == {}


def test_what_is_kept_is_a_copy() -> None:
    weights, compared = np.ones((2, 2), np.float32), Updates()
    compared.keep(0, {0: weights})
    weights *= 2  # as an update does in place
    assert compared.ratios(1, {0: weights}) == {0: 1.0}


def test_series_of_looks_are_series() -> None:
    assert set(LOOKED_SERIES) < set(LANE_SERIES)
