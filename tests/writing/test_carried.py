"""Slots that need no sum: what the operations of an update show, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.backends.tensorflow.carried import carried
from tests.writing.logs import read_log

BAD = (np.nan, np.inf, -np.inf)
RATE, DECAY = 0.1, 0.9

Variables = dict[str, Any]
Update = Callable[[Variables, Any], None]


def momentum(v: Variables, g: Any) -> None:
    v["slot"].assign(v["slot"] * DECAY - g * RATE)
    v["weight"].assign_add(v["slot"])


def mean_of_gradients(v: Variables, g: Any) -> None:
    v["slot"].assign_add((g - v["slot"]) * (1 - DECAY))
    v["weight"].assign_sub(v["slot"] * RATE / (tf.abs(g) + 1e-7))


def mean_of_squares(v: Variables, g: Any) -> None:
    v["slot"].assign_add((tf.square(g) - v["slot"]) * (1 - DECAY))
    v["weight"].assign_sub(g * RATE / (tf.sqrt(v["slot"]) + 1e-7))


def decayed_afterwards(v: Variables, g: Any) -> None:
    momentum(v, g)
    v["weight"].assign_sub(v["weight"] * 0.01)


def decaying_squares(v: Variables, g: Any) -> None:
    # An infinite slot stays infinite, and the weight as it was.
    v["slot"].assign(v["slot"] * DECAY + tf.square(g) * (1 - DECAY))
    v["weight"].assign_sub(g * RATE / (tf.sqrt(v["slot"]) + 1e-7))


def largest_square(v: Variables, g: Any) -> None:
    v["slot"].assign(tf.maximum(v["slot"], tf.square(g)))
    v["weight"].assign_sub(g * RATE / (tf.sqrt(v["slot"]) + 1e-7))


def sign(v: Variables, g: Any) -> None:
    v["slot"].assign_add((g - v["slot"]) * (1 - DECAY))
    v["weight"].assign_sub(RATE * tf.sign(v["slot"]))


def clipped_afterwards(v: Variables, g: Any) -> None:
    momentum(v, g)
    v["weight"].assign(tf.clip_by_value(v["weight"], -1.0, 1.0))


def read_before(v: Variables, g: Any) -> None:
    v["weight"].assign_sub(RATE * v["slot"])
    v["slot"].assign(v["slot"] * DECAY + g)


def whole_step_taken(v: Variables, g: Any) -> None:
    # With a factor of 1 the slot is the square itself, and infinite where that is.
    v["slot"].assign_add((tf.square(g) - v["slot"]) * 1.0)
    v["weight"].assign_sub(g * RATE / (tf.sqrt(v["slot"]) + 1e-7))


def in_a_branch(v: Variables, g: Any) -> None:
    def update() -> Any:
        momentum(v, g)
        return tf.constant(1)

    tf.cond(tf.reduce_sum(g) > 0, update, lambda: tf.constant(1))


def times_zero(v: Variables, g: Any) -> None:
    v["slot"].assign(v["slot"] * DECAY - g * RATE)
    v["weight"].assign_add(v["slot"] * 0.0)


def of_another_shape(v: Variables, g: Any) -> None:
    v["slot"].assign(v["slot"] * DECAY - g * RATE)
    v["weight"].assign_add(tf.fill([6], tf.reduce_max(v["slot"])))


def read_in_a_loop(v: Variables, g: Any) -> None:
    # As a recurrent layer's forward pass does.
    tf.while_loop(
        lambda i, total: i < 3,
        lambda i, total: (i + 1, total + v["weight"]),
        (tf.constant(0), tf.zeros(6)),
    )
    momentum(v, g)


def cleaned_in_a_loop(v: Variables, g: Any) -> None:
    def clean(i: Any) -> Any:
        v["weight"].assign(tf.zeros(6))
        return (i + 1,)

    momentum(v, g)
    tf.while_loop(lambda i: i < 3, clean, (tf.constant(0),))


CARRIED: list[Update] = [
    momentum,
    read_in_a_loop,
    mean_of_gradients,
    mean_of_squares,
    decayed_afterwards,
]
NOT_CARRIED: list[Update] = [
    decaying_squares,
    largest_square,
    sign,
    clipped_afterwards,
    read_before,
    whole_step_taken,
    in_a_branch,
    cleaned_in_a_loop,
    times_zero,
    of_another_shape,
]


class Step:
    """A traced step that makes one update and returns slot and weight after it."""

    def __init__(self, update: Update, *, xla: bool = False) -> None:
        self.variables = {
            name: tf.Variable(np.ones(6, np.float32)) for name in ("slot", "weight")
        }
        self.is_carried: bool | None = None

        def run(g: Any) -> Any:
            update(self.variables, g)
            slot, weight = (
                tf.raw_ops.ReadVariableOp(
                    resource=self.variables[name].handle, dtype=tf.float32
                )
                for name in ("slot", "weight")
            )

            def bits(tensor: Any) -> float | None:
                of_gradient = tensor is g or (
                    tensor.op.type in ("Square", "Identity") and tensor.op.inputs[0] is g
                )
                return 101.0 if of_gradient else None

            self.is_carried = id(slot) in carried([slot], [weight], bits)
            return slot, weight

        self.run = tf.function(run, jit_compile=xla, autograph=False)


@pytest.mark.parametrize("update", CARRIED)
def test_an_update_that_carries_needs_no_sum_of_the_slot(update: Update) -> None:
    step = Step(update)
    step.run(tf.ones(6))
    assert step.is_carried


@pytest.mark.parametrize("update", NOT_CARRIED)
def test_a_slot_whose_faults_may_stay_unseen_is_summed(update: Update) -> None:
    step = Step(update)
    step.run(tf.ones(6))
    assert step.is_carried is False


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("update", CARRIED)
def test_what_is_called_carried_is(update: Update, xla: bool) -> None:
    """The claim itself, by the operations: a bad slot leaves a bad weight."""
    step = Step(update, xla=xla)

    @settings(max_examples=60, deadline=None)
    @given(
        slot=st.lists(floats(), min_size=6, max_size=6),
        weight=st.lists(floats(), min_size=6, max_size=6),
        g=st.lists(st.floats(-(2.0**50), 2.0**50, width=32), min_size=6, max_size=6),
    )
    def holds(slot: list[float], weight: list[float], g: list[float]) -> None:
        step.variables["slot"].assign(np.array(slot, np.float32))
        step.variables["weight"].assign(np.array(weight, np.float32))
        after, moved = step.run(np.array(g, np.float32))
        assert not (~np.isfinite(after) & np.isfinite(moved)).any()

    holds()


def floats() -> Any:
    largest = float(np.finfo(np.float32).max)
    return st.one_of(st.sampled_from(BAD), st.floats(-largest, largest, width=32))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("which", ["momentum", "velocity"])
def test_a_slot_that_python_made_bad_is_found_in_the_step_it_happens(
    tmp_path: Path, jit_compile: bool, bad: float, which: str
) -> None:
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                (slot,) = (
                    v
                    for v in self.model.optimizer.variables
                    if v.path.endswith(f"first_kernel_{which}")
                )
                value = np.array(slot)
                value[1, 2] = bad
                slot.assign(value)

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse", jit_compile=jit_compile)
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    watch = NanWatch(tmp_path)
    model.fit(x, x[:, :1], batch_size=8, verbose=0, callbacks=[Spoil(), watch])
    episode = read_log(tmp_path).episodes[0]
    assert episode.start.step == 5
    found = [t for t in episode.tensors if t.kind in ("optimizer", "weight")]
    counts = {t.name: t.num_nan + t.num_pos_inf + t.num_neg_inf for t in found}
    assert counts.pop("first/kernel") == 1
    ((slot, count),) = [item for item in counts.items() if item[0].endswith(which)]
    assert "first_kernel" in slot and count == 1
