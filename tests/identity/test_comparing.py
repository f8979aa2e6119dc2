"""What compares trainings, compares: it must fire at the last bit, and stay silent."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.identity.architectures import KINDS, OPTIMIZERS, Block, Spec, draw
from tests.identity.campaign import wrong
from tests.identity.faults import Fault, Saboteur, counts, draw_fault, inject, spoil
from tests.identity.share import KNOWN, seeds
from tests.identity.training import Trained, arrays, differences, train

SPEC = Spec(3, blocks=(Block("residual", rate=0.2),), examples=12, batch=4, validation=4)


@pytest.fixture(scope="module")
def plain() -> Trained:
    return train(SPEC, "graph")


class Nudge(keras.callbacks.Callback):
    """Moves one weight by its last bit, once."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 1:
            weight = self.model.trainable_variables[0]
            value = np.array(weight.value.numpy())
            # The largest: what a small one has in its last bit, the update rounds away.
            largest = np.abs(value).argmax()
            value.flat[largest] = np.nextafter(value.flat[largest], np.float32(np.inf))
            weight.assign(value)


class Draw(keras.callbacks.Callback):
    """Takes a number from a source that the program shares."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    def on_train_begin(self, logs: Any = None) -> None:
        draws = {
            "random": random.random,
            "numpy.random": np.random.rand,
            "keras.random": lambda: keras.random.uniform(()),
            "tf.random": lambda: tf.random.uniform(()),
            "tf.random.get_global_generator": lambda: (
                tf.random.get_global_generator().uniform(())
            ),
        }
        draws[self.source]()


def test_the_same_training_is_the_same(plain: Trained) -> None:
    assert differences(plain, train(SPEC, "graph")) == []


def test_the_last_bit_of_one_weight_is_seen(plain: Trained) -> None:
    found = differences(plain, train(SPEC, "graph", callbacks=[Nudge()]))
    assert found[0].what == "weights" and found[0].epoch == 0
    assert {"weights", "optimizer", "history"} <= {d.what for d in found}
    assert all(0 < d.relative < 1e-4 for d in found if d.what == "weights")


@pytest.mark.parametrize(
    "source",
    [
        "random",
        "numpy.random",
        "keras.random",
        "tf.random",
        "tf.random.get_global_generator",
    ],
)
def test_a_random_number_that_is_taken_is_seen(plain: Trained, source: str) -> None:
    found = differences(plain, train(SPEC, "graph", callbacks=[Draw(source)]))
    assert ("random state", source) in {(d.what, d.name) for d in found}


def test_nan_equals_itself_and_minus_zero_is_not_zero(plain: Trained) -> None:
    one, other = copy.deepcopy(plain), copy.deepcopy(plain)
    key = next(iter(one.epochs[0]))
    for trained in (one, other):
        trained.epochs[0][key].flat[0] = np.nan
        trained.history["loss"][1] = float("nan")
    assert differences(one, other) == []
    other.epochs[0][key].flat[0] = 1.0
    assert differences(one, other)[0].relative == np.inf
    other = copy.deepcopy(one)
    one.history["loss"][0], other.history["loss"][0] = 0.0, -0.0
    assert [d.what for d in differences(one, other)] == ["history"]
    other = copy.deepcopy(one)
    other.history["val_loss"][1] = np.nextafter(one.history["val_loss"][1], 0.0)
    assert [(d.what, d.epoch) for d in differences(one, other)] == [("validation", 1)]


def test_a_variable_of_one_training_alone_is_seen(plain: Trained) -> None:
    other = copy.deepcopy(plain)
    other.epochs[1]["optimizer", "more"] = np.zeros(2)
    assert [d.name for d in differences(plain, other)] == ["more (in one alone)"]
    del other.epochs[1]["optimizer", "more"]
    assert differences(plain, other) == []
    last = other.epochs[1].popitem()
    other.epochs[1]["optimizer", "other"] = last[1]
    assert [d.what for d in differences(plain, other)] == ["names"]


def test_noise_is_seen(plain: Trained, tmp_path: Path) -> None:
    watched = train(SPEC, "graph", tmp_path)
    assert wrong(SPEC, plain, watched) == []
    loud = copy.deepcopy(watched)
    loud.said.append("NanWatch: something")
    assert wrong(SPEC, plain, loud) == ["NanWatch: something"]
    assert wrong(Spec(3, examples=12, batch=4, epochs=3), plain, watched) == [
        "6 steps of 9 were seen"
    ]
    assert wrong(SPEC, plain, plain) == ["nothing was logged"]


@pytest.mark.slow
def test_a_fault_is_found_and_another_one_is_not_taken_for_it(tmp_path: Path) -> None:
    kinds = {}
    for seed in range(200):  # the first seed of each kind of fault
        spec = Spec(seed, blocks=SPEC.blocks, examples=12, batch=4, validation=8)
        kinds.setdefault(draw_fault(spec)[1].kind, spec)
    assert set(kinds) == {"data", "validation data", "weight", "overflow"}
    for kind, spec in kinds.items():
        injected = inject(spec, "graph", tmp_path / kind)
        assert injected is not None
        assert injected.expected.agrees(injected.found), injected
        assert sum(injected.expected.counts) > 0
    spec, fault = draw_fault(kinds["data"])
    data = arrays(spec, spec.examples, 1)
    assert counts(data[0]) == (0, 0, 0)
    spoil(data[0], fault)
    assert sum(counts(data[0])) == fault.count


def test_a_convolution_goes_bad_in_the_middle() -> None:
    kernel = np.zeros((3, 3, 2, 4), np.float32)
    spoil(kernel, Fault("weight", 0, 0, "nan", 3, 13), center=True)
    assert np.isnan(kernel).sum() == np.isnan(kernel[1, 1]).sum() == 3


def test_a_seed_is_a_spec_and_all_kinds_are_drawn() -> None:
    specs = [draw(seed) for seed in range(300)]
    assert specs == [draw(seed) for seed in range(300)]
    assert len({str(s) for s in specs}) == 300
    drawn = {(s.data, b.kind) for s in specs for b in s.blocks}
    assert drawn == {(data, kind) for data, kinds in KINDS.items() for kind in kinds}
    assert {s.optimizer for s in specs} == set(OPTIMIZERS)
    assert {s.steps_per_execution for s in specs} == {1, 2, 4}
    assert {s.weights for s in specs} == {"none", "sample", "class"}
    assert any(s.examples % s.batch for s in specs)


def test_known_rows_belong_to_the_share() -> None:
    rows = json.loads(KNOWN.read_text(encoding="utf-8"))["rows"]
    assert len({(r["mode"], r["seed"]) for r in rows}) == len(rows)
    for r in rows:
        assert r["what"] and r["seed"] in seeds(r["mode"])


def test_a_state_is_kept_at_the_step_of_the_fault_alone() -> None:
    fault = Fault("weight", 1, 0, "nan", 1, 0)
    saboteur = Saboteur(SPEC, fault)
    train(SPEC, "graph", callbacks=[saboteur])
    assert saboteur.state is not None and saboteur.place
    never = Saboteur(SPEC, Fault("weight", 5, 0, "nan", 1, 0))
    train(SPEC, "graph", callbacks=[never])
    assert never.state is None
