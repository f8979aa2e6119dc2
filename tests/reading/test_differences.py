"""What two made-up runs differ in: each topic fires, and stays silent where all is alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.comparison.differences import (
    TOPICS,
    ComparedRun,
    Differences,
    differences_of,
)
from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import HParam, Kind, Probe, RangesRecord, SessionRecord
from tests.reading.records import a_status, session_id

PROBES: list[tuple[Kind, str, list[int | None]]] = [
    ("input", "", [None, 4]),
    ("label", "", [None, 1]),
    ("activation", "dense", [None, 8]),
    ("activation", "dense_1", [None, 1]),
    ("loss", "mse", []),
    ("gradient", "dense/kernel", [4, 8]),
    ("gradient", "dense/bias", [8]),
    ("weight", "dense/kernel", [4, 8]),
    ("weight", "dense/bias", [8]),
]
STEPS = 6
INPUT, LABEL, HIDDEN, OUTPUT, LOSS, GRADIENT, _, KERNEL, BIAS = range(len(PROBES))


class Made:
    """A run whose every number can be changed; as it is made, nothing stands out."""

    def __init__(self, name: str = "plain", **status: Any) -> None:
        self.name = name
        self.status = a_status(1, **status)
        self.probes = [Probe(k, n, shape=s, layer=n) for k, n, s in PROBES]
        self.session = SessionRecord(
            session_id(1), 0, train_probes=self.probes, validation_probes=[],
            optimizer={"class_name": "SGD", "name": name, "learning_rate": 0.01,
                       "momentum": 0.0, "clipnorm": None},
            loss="mse", precision="float32", versions={"keras": "3.15.1"},
        )  # fmt: skip
        self.stats = np.ones((STEPS, len(PROBES), len(schema.RANGE_COLUMNS)), np.float32)
        self.stats[:, :, 0] = -1
        self.stats[:, :, 5] = 0
        self.counts = np.zeros((STEPS, len(PROBES), 3), np.int64)
        self.causes: list[Cause] = []

    def size(self, probe: int, value: float, start: int = 0) -> None:
        """Makes a tensor as large as `value` from step `start` on."""
        self.stats[start:, probe, 0] = -value
        self.stats[start:, probe, 1:5] = value

    def training(self) -> ComparedRun:
        n = len(self.probes)
        steps = np.repeat(np.arange(STEPS)[:, None], 2, axis=1)
        record = RangesRecord(
            session_id(1), 0, phase="train", steps=steps, stats=self.stats,
            counts=self.counts, bad_steps=np.zeros((STEPS, n), np.int64),
            measured=np.ones(STEPS, np.int64),
        )  # fmt: skip
        return ComparedRun(self.name, self.status, self.session, [record], self.causes)


def compared(first: Made, second: Made) -> Differences:
    return differences_of(first.training(), second.training())


def bad(cause: str) -> Made:
    made = Made("trial", bad=True)
    made.causes = [Cause(cause, 0.9, ["where", "because"], "do this")]
    return made


def test_two_alike_differ_in_nothing() -> None:
    found = compared(Made("plain"), Made("another"))
    assert found.differences == []
    assert found.alike == list(TOPICS)
    assert found.parting is None and found.notes == []
    assert "Neither went bad." in found.verdict
    assert "never differ" in found.verdict


def test_hyperparameters_come_first_and_say_the_optimizers_setting_once() -> None:
    plain = Made(hparams=[HParam("lr", 0.01, "float"), HParam("old", "x", "text")])
    trial = bad("learning_rate")
    trial.status = dataclasses.replace(
        trial.status,
        hparams=[HParam("lr", 10.0, "float"), HParam("tuner/epochs", 3, "fixed")],
    )
    trial.session.optimizer["learning_rate"] = float(np.float32(10.0))
    plain.session.optimizer["learning_rate"] = float(np.float32(0.01))
    trial.session.optimizer["momentum"] = 0.9
    found = compared(plain, trial)
    assert [(d.topic, d.name) for d in found.differences] == [
        ("hparam", "lr"),
        ("hparam", "old"),
        ("optimizer", "momentum"),
    ]
    rate, old, momentum = found.differences
    assert rate.decades == pytest.approx(-3)
    assert rate.setting == "learning_rate"
    assert rate.text == (
        "lr: 0.01 against 10 (1,000 times as small); it is the optimizer's learning_rate."
    )
    assert (old.first, old.second) == ("x", None)
    assert (rate.likely, old.likely, momentum.likely) == (True, False, False)
    assert "Likely cause: learning rate too high, which goes with a difference" in (
        found.verdict
    )


def test_what_a_cause_is_not_about_is_named_all_the_same() -> None:
    trial = bad("layer_domain")
    for made, values in (
        (trial, ("log", 1.0, 1, 2)),
        (plain := Made(), ("sqrt", 2.0, 2, 3)),
    ):
        hparams = [HParam(n, v, "text") for n, v in zip("abcd", values, strict=True)]
        made.status = dataclasses.replace(made.status, hparams=hparams)
    assert "together with what differs: a, b, c and 1 more." in (
        compared(plain, trial).verdict
    )
    plain.status = dataclasses.replace(plain.status, hparams=[])
    trial.status = dataclasses.replace(trial.status, hparams=[])
    trial.session.precision = "float16"
    assert "together with what differs. " in compared(plain, trial).verdict


def test_a_cause_that_both_runs_share_is_said_not_to_differ() -> None:
    trial = bad("unscaled_inputs")
    trial.session.loss = "mae"
    found = compared(Made(), trial)
    assert not any(d.likely for d in found.differences)
    assert "nothing that differs is about that" in found.verdict


def test_a_loss_scalers_own_optimizer_is_compared() -> None:
    trial = Made("trial")
    inner = {**trial.session.optimizer, "learning_rate": 0.5}
    trial.session.optimizer = {
        "class_name": "LossScaleOptimizer",
        "initial_scale": 32768.0,
        "inner_optimizer": {"class_name": inner.pop("class_name"), "config": inner},
    }
    names = [d.name for d in compared(Made(), trial).differences]
    assert names == ["learning_rate", "loss_scaling"]


@pytest.mark.parametrize("size, fires", [(1000.0, True), (4.0, True), (2.0, False)])
def test_the_scale_of_the_data(size: float, fires: bool) -> None:
    trial = bad("unscaled_inputs")
    trial.size(INPUT, size)
    data = [d for d in compared(Made(), trial).differences if d.topic == "data"]
    assert bool([d for d in data if d.name == "input.rms"]) is fires
    if fires:
        assert data[0].likely
        assert "root mean square of input: 1 against" in data[0].text


def test_zeros_and_non_finite_values_among_labels_are_told() -> None:
    trial = Made("trial")
    trial.stats[:, LABEL, 5] = 0.25
    trial.counts[4, LABEL, 0] = 2
    data = {d.name: d.second for d in compared(Made(), trial).differences}
    assert data == {"label.nonfinite": 2, "label.zeros": 0.25}
    # Zeros among inputs are everyday.
    trial = Made("trial")
    trial.stats[:, INPUT, 5] = 0.25
    assert compared(Made(), trial).differences == []


@pytest.mark.parametrize("column, value", [(5, 0.25), (0, -0.01), (1, 1.5)])
@pytest.mark.parametrize("seen", [1, 2, STEPS])
def test_what_few_steps_had_is_no_difference_of_the_data(
    column: int, value: float, seen: int
) -> None:
    """Both may have the same data: which rows were in a measured step is chance."""
    plain, trial = Made(), Made("trial")
    for made in (plain, trial):
        made.stats[:, LABEL, 0] = 0.5
    trial.stats[:seen, LABEL, column] = value
    data = [d.name for d in compared(plain, trial).differences if d.topic == "data"]
    named = "label.zeros" if column == 5 else "label.range"
    assert data == ([named] if seen == STEPS else [])
    # Steps that were measured in one run alone prove no more.
    plain.stats[2:, LABEL] = np.nan
    assert not [d for d in compared(plain, trial).differences if d.topic == "data"] or (
        seen == STEPS
    )


@pytest.mark.parametrize("onset, fires", [(37, True), (2, False)])
def test_the_first_bad_step_was_looked_at_for_what_it_held(
    onset: int, fires: bool
) -> None:
    plain, trial = Made(), bad("loss_domain")
    assert trial.status.onset is not None
    trial.status.onset.step = onset
    for made in (plain, trial):
        made.stats[3:, LABEL] = np.nan
    trial.stats[:3, LABEL, 5] = 0.25  # three of three, or two of two others
    data = [d.name for d in compared(plain, trial).differences if d.topic == "data"]
    assert data == ["label.zeros"] * fires


def test_precision_and_set_up() -> None:
    trial = bad("half_precision")
    trial.session.precision = "mixed_float16"
    trial.probes[HIDDEN].dtype = "float16"
    trial.session.jit_compile = True
    found = compared(Made(), trial).differences
    assert [(d.topic, d.likely) for d in found] == [
        ("precision", True),
        ("precision", True),
        ("setup", False),
    ]


def test_initial_activations_before_the_first_update() -> None:
    trial = bad("initialization")
    trial.size(HIDDEN, 300)
    trial.size(OUTPUT, 2e5)
    found = compared(Made(), trial)
    initial = [d for d in found.differences if d.topic == "initial"]
    assert [d.name for d in initial] == ["activation.dense", "activation.dense_1"]
    assert all(d.likely for d in initial)
    assert found.parting is not None and found.parting.step == 0


def test_where_they_part_names_the_first_tensor_in_causal_order() -> None:
    trial = bad("learning_rate")
    trial.size(KERNEL, 50, start=2)
    trial.size(HIDDEN, 50, start=3)
    found = compared(Made(), trial)
    assert found.parting is not None
    assert (found.parting.step, found.parting.last_step) == (2, 2)
    (tensor,) = found.parting.tensors
    assert (tensor.kind, tensor.name) == ("weight", "dense/kernel")
    assert (tensor.first, tensor.second) == (1, 50)
    assert "They first differ at step 2: weight dense/kernel" in found.verdict


def test_one_odd_batch_is_no_parting_and_neither_is_what_has_become_small() -> None:
    trial = Made("trial")
    trial.stats[2, LOSS, 1:5] = 50
    trial.size(GRADIENT, 0.05, start=3)
    plain = Made()
    plain.size(GRADIENT, 0.001, start=3)
    assert compared(plain, trial).parting is None


def test_a_tensor_that_becomes_non_finite_parts() -> None:
    trial = bad("learning_rate")
    trial.counts[5, LOSS] = (1, 0, 0)
    found = compared(Made(), trial)
    assert found.parting is not None and found.parting.step == 5
    assert np.isnan(found.parting.tensors[0].second)
    assert "against non-finite" in found.parting.text


def test_models_of_different_depth_are_compared_by_their_largest() -> None:
    trial = Made("trial")
    trial.probes.insert(KERNEL, Probe("weight", "more/kernel", shape=[8, 8]))
    for name in ("stats", "counts"):
        old = getattr(trial, name)
        setattr(trial, name, np.insert(old, KERNEL, old[:, KERNEL], axis=1))
    trial.stats[3:, KERNEL, 1:5] = 70
    found = compared(Made(), trial)
    assert {d.name for d in found.differences} == {"weights", "parameters"}
    assert found.parting is not None
    assert found.parting.text.startswith(
        "They first differ at step 3: the largest weight has"
    )


def test_what_was_not_recorded_is_said() -> None:
    plain = Made().training()
    bare = ComparedRun("bare", a_status(2, bad=True))
    found = differences_of(plain, bare)
    assert found.notes and found.parting is None
    assert found.alike == ["hparam"] or found.differences
    assert "bare diverged at epoch 2, batch 13 (step 37)." in found.verdict
    assert "does not decide" in found.verdict


def test_renaming_every_tensor_changes_nothing() -> None:
    trial = bad("learning_rate")
    trial.size(KERNEL, 50, start=2)
    before = compared(Made(), trial)
    for i, probe in enumerate(trial.probes):
        probe.name = probe.layer = f"t{i}"
    assert compared(Made(), trial) == before
