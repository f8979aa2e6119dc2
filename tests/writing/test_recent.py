"""The recent state: what it leads to, and that a healthy step holds nothing for a look."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch import NanWatch
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.tape import Change
from tb_nanwatch.writing.backends.tensorflow.step import StepGraph
from tb_nanwatch.writing.capsules import CAPSULE
from tb_nanwatch.writing.recent import Recent
from tb_nanwatch.writing.rewind import MOST_STEPS
from tests.writing.logs import read_log

L = keras.layers


# --- What it leads to ---------------------------------------------------------------


class _State:
    def __init__(self, step: int) -> None:
        self.step, self.nbytes = step, 1

    def restore(self) -> None:
        raise AssertionError


class _Training:
    """A training whose n-th batch is n."""

    def __init__(self, batch_bytes: int) -> None:
        self.steps = self.length = self.copies = 0
        self.nbytes = batch_bytes
        self.held: list[int] = []

    def step(self) -> None:
        self.held = [*self.held, self.steps][-self.length :] if self.length else []
        self.steps += 1

    def state(self) -> _State:
        self.copies += 1
        return _State(self.steps)

    def batch_bytes(self) -> int:
        return self.nbytes if self.held else 0

    def hold(self, steps: int) -> None:
        self.length = steps
        self.held = self.held[-steps:] if steps else []


@given(
    batch_bytes=st.integers(1, 100),
    limit=st.integers(0, 5_000),
    per_call=st.integers(1, 4),
    calls=st.integers(1, 40),
    seconds=st.sampled_from([0.0, 1e-9, 1.0]),
    cost=st.sampled_from([1, 10**9, 10**12]),
)
def test_each_step_of_the_last_call_can_be_run_again(
    batch_bytes: int, limit: int, per_call: int, calls: int, seconds: float, cost: int
) -> None:
    source, now = _Training(batch_bytes), itertools.count()
    recent = Recent(
        *(source.state, lambda: cost, source.batch_bytes, source.hold, limit),
        *(lambda: per_call, lambda: next(now) * seconds),
    )
    recent.renew(0)
    for _ in range(calls):
        begin = source.steps
        for _ in range(per_call):
            source.step()
        for step in range(begin, source.steps):
            tape = recent.tape(step, source.steps, source.held)
            assert tape is not None and tape.first <= step
            assert tape.batches == list(range(tape.first, step + 1))
        assert len(source.held) <= max(MOST_STEPS, 2 * per_call)
        assert len(source.held) * batch_bytes <= max(limit, 2 * per_call * batch_bytes)
        if source.steps >= recent.next_look:
            recent.renew(source.steps)
    recent.stop()
    assert source.held == [] and recent.tape(0, source.steps, []) is None
    source.step()
    assert recent.next_look > source.steps


def test_what_was_set_since() -> None:
    source = _Training(1)
    recent = Recent(
        source.state, lambda: 1, source.batch_bytes, source.hold, 1_000, lambda: 1
    )
    recent.renew(0)
    recent.changed(Change(0, "rate", np.float32(1)))
    source.step()
    recent.changed(Change(1, "rate", np.float32(2)))
    tape = recent.tape(0, 1, source.held)
    assert tape is not None and [c.step for c in tape.changes] == [0]
    # Weights that are replaced: another state is taken instead.
    recent.changed(Change(1, "weights", np.zeros(300, np.uint8)))
    assert not recent.has_begun and recent.tape(0, 1, source.held) is None
    assert recent.next_look == 0


# --- In a training --------------------------------------------------------------------

BATCH, STEPS, ONSET = 16, 120, 97
X = np.random.default_rng(0).normal(size=(BATCH * STEPS + 5, 6)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def net(**compiled: Any) -> Any:
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(16, "relu"),
            L.Dropout(0.2),
            L.BatchNormalization(),
            L.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "mse", jit_compile=True, **compiled)
    return model


class Steps(keras.callbacks.Callback):
    """Keeps the state from before each call, and sets the rate before it where asked to."""

    def __init__(self, rates: bool = False) -> None:
        super().__init__()
        self.rates = rates
        self.states: dict[int, dict[str, Any]] = {}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        model = self.model
        if self.rates:
            model.optimizer.learning_rate = 1e-3 / (1 + batch % 5)
        variables = [*model.variables, *model.optimizer.variables]
        self.states[batch] = {v.path: np.array(v.numpy()) for v in variables}


class Runs:
    """What was run again, and how often a state was taken, in the trainings of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.again: list[tuple[int, int]] = []
        self.taken: list[int] = []
        self.graphs: list[Any] = []
        recent_tape, renew, record = Recent.tape, Recent.renew, StepGraph.record_packed

        def tape(recent: Any, step: int, *args: Any) -> Any:
            found = recent_tape(recent, step, *args)
            self.again.append((found.first, step))
            return found

        def renewed(recent: Any, step: int) -> None:
            self.taken.append(step)
            renew(recent, step)

        def recorded(*args: Any) -> None:
            record(*args)
            self.graphs.append(tf.compat.v1.get_default_graph())

        monkeypatch.setattr(Recent, "tape", tape)
        monkeypatch.setattr(Recent, "renew", renewed)
        monkeypatch.setattr(StepGraph, "record_packed", recorded)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


@pytest.mark.parametrize("per_call", [1, 4])
def test_a_late_fault_is_given_back_bit_for_bit(
    per_call: int, runs: Runs, tmp_path: Path
) -> None:
    bad = X.copy()
    bad[ONSET * BATCH + 3, 2] = np.nan
    model, steps = net(steps_per_execution=per_call), Steps(rates=True)
    model.fit(
        *(bad, Y),
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[steps, NanWatch(tmp_path, experiments=0)],
    )
    (place,) = tmp_path.glob(f"**/{CAPSULE}*")
    capsule = Capsule.read(place)
    assert (capsule.position.step, capsule.origin.kind) == (ONSET, "input")
    assert not capsule.partial, capsule.missing
    np.testing.assert_array_equal(capsule.data[0], bad[ONSET * BATCH :][:BATCH])
    first, _ = next(found for found in runs.again if found[1] == ONSET)
    assert 0 < first < ONSET  # steps were run again, and not all of them
    if per_call == 1:
        metrics = {v.path for v in model.metrics_variables}
        before = steps.states[ONSET]
        kept = {v.path: v.value for v in capsule.variables if v.path in before}
        assert len(kept) > 10
        for path in kept.keys() - metrics:
            assert kept[path].tobytes() == before[path].tobytes(), path


def test_a_healthy_step_hands_over_its_sums_alone(runs: Runs, tmp_path: Path) -> None:
    """Batches of two sizes: neither a second trace nor a look comes of the other size."""
    model, traces = net(), []
    train_step = type(model).train_step

    class Counted(type(model)):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            traces.append(data[0].shape)
            return train_step(self, data)

    model.__class__ = Counted
    after_looks: list[int] = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: (
            after_looks.append(len(traces)) if batch == 4 else None
        )
    )
    model.fit(
        *(X, Y),
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[count, NanWatch(tmp_path)],
    )
    assert read_log(tmp_path).status.status == "clean"
    looks = [step for _, step in runs.again]
    assert looks[:4] == [0, 1, 2, 3] and STEPS not in looks
    # A look runs the step once, by itself; the batch of another size traces nothing.
    assert len([shape for shape in traces if shape[0] == BATCH]) == len(looks)
    assert after_looks == [len(traces) - len(looks[4:])]
    assert all(first == step for first, step in runs.again)  # states were taken in time
    # What the step that trains hands to Python: a token, its number and its sums.
    assert runs.graphs
    for graph in runs.graphs:
        calls = [op for op in graph.get_operations() if "PyFunc" in op.type]
        assert [len(op.inputs) for op in calls] == [3]
    assert len({s for s in runs.taken if s > 4}) < STEPS // 2
