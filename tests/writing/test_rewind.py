"""What a training is run again from: what is kept of it, and that it is its very self."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch import NanWatch
from tb_nanwatch.postmortem import state
from tb_nanwatch.postmortem.tape import Change, Tape
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.writing.backends import tensorflow
from tb_nanwatch.writing.rewind import MOST_STEPS, Rewind
from tests.writing.logs import read_log

L = keras.layers
X = np.random.default_rng(0).normal(size=(320, 6)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


# --- What is kept ---------------------------------------------------------------------


class _State:
    def __init__(self, step: int, nbytes: int) -> None:
        self.step, self.nbytes = step, nbytes

    def restore(self) -> None:
        raise AssertionError


class _Training:
    """A training whose n-th batch is n (`rewind.Source`)."""

    def __init__(self, state_bytes: int, batch_bytes: int) -> None:
        self._sizes = state_bytes, batch_bytes
        self.steps = self.held_steps = 0
        self.held: list[int] = []

    def step(self) -> None:
        self.held = (
            [*self.held, self.steps][-self.held_steps :] if self.held_steps else []
        )
        self.steps += 1

    def state(self) -> _State:
        return _State(self.steps, self._sizes[0])

    def state_bytes(self) -> int:
        return self._sizes[0]

    def batch_bytes(self) -> int:
        return self._sizes[1] if self.held else 0

    def hold(self, steps: int) -> None:
        self.held_steps = steps
        self.held = self.held[-steps:] if steps else []

    def batches(self) -> list[int]:
        held, self.held = self.held, []
        return held


@given(
    state_bytes=st.integers(1, 100),
    batch_bytes=st.integers(1, 100),
    limit=st.integers(1, 5_000),
    before=st.integers(0, 400),
    after=st.integers(0, 100),
    seconds=st.sampled_from([0.0, 1e-9, 1.0]),
)
def test_the_tape_leads_to_the_onset_within_the_limit(
    state_bytes: int,
    batch_bytes: int,
    limit: int,
    before: int,
    after: int,
    seconds: float,
) -> None:
    source, now = _Training(state_bytes, batch_bytes), itertools.count()
    rewind = Rewind(source, limit, lambda: next(now) * seconds)
    rewind.begin(0, 1)

    def held() -> int:
        states = len(rewind._states)
        return states * state_bytes + len(source.held) * batch_bytes

    for step in range(before + 1):
        source.step()
        if step == before:
            rewind.went_bad(source.steps)
        if source.steps >= rewind.next_look:
            rewind.stepped(source.steps)
        # The batch of the very step is there in any case.
        assert held() <= max(limit, state_bytes + batch_bytes), step
    for _ in range(after):
        source.step()
        if source.steps >= rewind.next_look:
            rewind.stepped(source.steps)
    tape = rewind.take(source.steps, before)
    if 2 * state_bytes > limit:
        assert tape == rewind.why_not != ""
    if isinstance(tape, str):
        # Not but for a limit, or where a state would take too long.
        assert rewind.why_not or seconds or before >= limit // batch_bytes - 3
        return
    assert tape.first <= before
    ends = tape.first + len(tape.batches)
    assert tape.batches == list(range(tape.first, ends)) and ends > before
    room = min(MOST_STEPS, (limit - 2 * state_bytes) // batch_bytes)
    if room > before:
        assert tape.first == 0
    assert held() <= limit


def test_weights_that_a_callback_replaced_begin_anew() -> None:
    source = _Training(100, 1)
    rewind = Rewind(source, 1_000)
    rewind.begin(0, 1)
    for _ in range(3):
        source.step()
        rewind.stepped(source.steps)
    rewind.changed(Change(3, "rate", np.zeros(2, np.uint8)))
    assert rewind.has_begun
    rewind.changed(Change(3, "weights", np.zeros(600, np.uint8)))
    assert not rewind.has_begun
    source.step()
    rewind.begin(source.steps, 1)
    for _ in range(3):
        source.step()
        rewind.stepped(source.steps)
    tape = rewind.take(source.steps, 6)
    assert isinstance(tape, Tape) and (tape.first, tape.batches) == (4, [4, 5, 6])
    assert tape.changes == []


# --- That it is its very self ------------------------------------------------------------


class Rate(keras.callbacks.Callback):
    """Sets the learning rate, at each epoch or at each batch."""

    def __init__(self, rates: list[float], at_batch: int | None = None) -> None:
        super().__init__()
        self.rates, self.at_batch = rates, at_batch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.at_batch is None:
            self.model.optimizer.learning_rate = self.rates[
                min(epoch, len(self.rates) - 1)
            ]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self.at_batch:
            self.model.optimizer.learning_rate = self.rates[-1]


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
    model.compile(keras.optimizers.SGD(3.0, momentum=0.9), "mse", **compiled)
    return model


def the_tape(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model: Any,
    callbacks: tuple[Any, ...] = (),
    data: Any = (X, Y),
    **watch: Any,
) -> tuple[Tape | str, Any]:
    """Fits a model that goes bad; returns its tape and its capsule."""
    seen: list[Any] = []

    def examine(model: Any, capsule: Any, *, tape: Any, **options: Any) -> Any:
        seen.append((tape, capsule))
        raise RuntimeError("seen")

    monkeypatch.setattr(tensorflow, "examine", examine)
    with pytest.warns(UserWarning, match="seen"):
        model.fit(
            *data,
            epochs=6,
            validation_split=0.2 if len(data) == 2 else 0.0,
            verbose=0,
            callbacks=[*callbacks, NanWatch(tmp_path, **watch)],
        )
    ((tape, capsule),) = seen
    return tape, capsule


def differing(model: Any, tape: Tape, capsule: Any) -> list[str]:
    """Plays a tape up to the failing step; returns what is not as it was there."""
    onset = capsule.position.step
    with state.preserved(model):
        for _ in tape.play(tape.batches[: onset - tape.first]):
            pass
        now = [v for role, v in variables_of(model) if role != "metric"]
        then = [s for s in capsule.variables if s.role != "metric"]
        return [
            s.path
            for s, v in zip(then, now, strict=True)
            if s.value is not None and s.value.tobytes() != v.numpy().tobytes()
        ]


@pytest.mark.parametrize(
    "compiled",
    [{}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 3}],
    ids=lambda c: next(iter(c), "graph"),
)
@pytest.mark.parametrize(
    "rates",
    [Rate([1e-3, 1e-3, 3.0]), Rate([1e-3, 3.0], at_batch=3)],
    ids=["epoch", "batch"],
)
def test_the_training_comes_to_the_very_state_again(
    compiled: dict[str, Any],
    rates: Rate,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = net(**compiled)
    model.optimizer.learning_rate = 1e-3
    tape, capsule = the_tape(monkeypatch, tmp_path, model, (rates,))
    assert isinstance(tape, Tape) and tape.first == 0
    assert len(tape.batches) > capsule.position.step > 0
    batch = tape.batches[capsule.position.step]
    for kept, there in zip(
        keras.tree.flatten(batch), keras.tree.flatten(capsule.data), strict=True
    ):
        np.testing.assert_array_equal(kept, there)
    assert differing(model, tape, capsule) == []
    # Without what the callback set it is another training.
    tape.changes = [c for c in tape.changes if "learning_rate" not in c.variable.path]
    assert differing(model, tape, capsule) != []


class Printing(keras.Model):
    """A model whose step leaves traces."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(1)

    def call(self, x: Any) -> Any:
        tf.print(tf.reduce_sum(x), output_stream=sys.stderr)
        return self.dense(x)


def test_what_cannot_be_run_again_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = Printing()
    model.compile(keras.optimizers.SGD(1e3), "mse")
    why, _ = the_tape(monkeypatch, tmp_path / "a", model)
    assert why == "running a step leaves traces (it prints, writes, calls Python)"
    why, _ = the_tape(monkeypatch, tmp_path / "b", net(), rewind_bytes=0)
    assert why == "rewind_bytes is 0"
    why, _ = the_tape(monkeypatch, tmp_path / "c", net(), rewind_bytes=100)
    assert "are more than half of rewind_bytes=100" in str(why)


def test_a_clean_training_runs_nothing_again(tmp_path: Path) -> None:
    model = net()
    model.optimizer.learning_rate = 1e-4
    model.fit(X, Y, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert read_log(tmp_path).status.status == "clean"
    assert read_log(tmp_path).all("postmortem") == []
    assert not any("assign" in vars(v) for v in model.variables)
    assert not any("assign" in vars(v) for v in model.optimizer.variables)
