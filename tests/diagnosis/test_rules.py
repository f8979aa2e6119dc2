"""Rules on hand-made records: what decides, and what must not."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch.diagnosis import MIN_CONFIDENCE, Facts, diagnose
from tb_nanwatch.rules import THRESHOLDS
from tb_nanwatch.schema import (
    CAUSES,
    RANGE_COLUMNS,
    BadTensor,
    HParam,
    Position,
    Probe,
    RangesRecord,
    SessionRecord,
)

# Probes of a small regression: (kind, name, layer, dtype, shape).
PROBES: list[tuple[Any, ...]] = [
    ("input", "input", "", "float32", [32, 10]),
    ("label", "label", "", "float32", [32, 1]),
    ("activation", "dense", "dense", "float32", [32, 16]),
    ("activation", "odd", "odd", "float32", [32, 16]),
    ("activation", "dense_1", "dense_1", "float32", [32, 1]),
    ("prediction", "prediction", "", "float32", [32, 1]),
    ("loss", "total", "", "float32", []),
    ("metric", "error", "", "float32", []),
    ("gradient", "dense_1/kernel", "dense_1", "float32", [16, 1]),
    ("gradient", "dense/kernel", "dense", "float32", [10, 16]),
    ("weight", "dense/kernel", "dense", "float32", [10, 16]),
    ("weight", "dense_1/kernel", "dense_1", "float32", [16, 1]),
]
SGD = {"class_name": "SGD", "learning_rate": 0.01, "momentum": 0.0}


def facts(
    origin: str | None = None,
    *,
    step: int = 3,
    status: Any = "diverged",
    sizes: dict[str, float] | None = None,
    later: dict[str, float] | None = None,
    bad: tuple[int, int] = (4, 0),
    optimizer: dict[str, Any] | None = None,
    dtype: str = "float32",
    inherited: Any = None,
) -> Facts:
    """A run whose tensors have root mean square 1, but for what is given.

    Args:
        origin: name of the first bad probe.
        sizes: rms by name at the first step; `later` at the onset.
        bad: how many NaN and Inf the origin has.
    """
    probes = [
        Probe(k, n, la, dtype if n == origin else d, s) for k, n, la, d, s in PROBES
    ]
    steps = [0, step] if step else [0]
    stats = np.ones((len(steps), len(probes), len(RANGE_COLUMNS)), np.float32)
    counts = np.zeros((len(steps), len(probes), 3), np.int64)
    # Gradients and weights share their names.
    names = [p.name if p.kind != "weight" else f"weight {p.name}" for p in probes]
    for i, values in enumerate((sizes or {}, later or {})[: len(steps)]):
        for name, value in values.items():
            stats[i:, names.index(name), :5] = [-value, value, value, value, value]
    stats[:, :, 5] = 0
    found = None
    if origin is not None:
        at = names.index(origin)
        stats[-1, at, :5] = np.nan
        counts[-1, at] = [bad[0], bad[1], 0]
        size = int(np.prod(probes[at].shape))
        found = BadTensor(probes[at].kind, origin, bad[0], bad[1], 0, size, row=2)
    return Facts(
        status,
        Position("train", step, 0, step),
        found,
        inherited=inherited,
        session=SessionRecord("s", 0, probes, [], optimizer=optimizer or SGD),
        ranges=[
            RangesRecord(
                "s", 0, phase="train",
                steps=np.array([[s, s] for s in steps], np.int64),
                stats=stats, counts=counts,
                bad_steps=(counts.sum(2) > 0).astype(np.int64),
                measured=np.ones(len(steps), np.int64),
            )
        ],
    )  # fmt: skip


GREW = {"dense_1": 1e30, "prediction": 1e30, "total": 1e36, "weight dense/kernel": 1e20}
CASES: dict[str, tuple[str, Facts]] = {
    "NaN in the batch": ("nonfinite_data", facts("input")),
    "a layer of small numbers": ("layer_domain", facts("odd")),
    "a layer of large numbers at the first step": (
        "layer_domain",
        facts("odd", step=0, sizes={"input": 1e5, "dense": 1e5}),
    ),
    "a layer that multiplies, at the first step": (
        "inherited",
        facts("dense", step=0, bad=(512, 0)),
    ),
    "its activation, not whole columns": ("layer_domain", facts("dense", step=0, bad=(77, 0))),
    "the loss of ordinary numbers": ("loss_domain", facts("total", bad=(1, 0))),
    "the metric alone": ("metric_domain", facts("error", status="score_lost", bad=(1, 0))),
    "a gradient, next to the loss": ("loss_domain", facts("dense_1/kernel")),
    "a gradient, further on": ("layer_domain", facts("dense/kernel")),
    "half precision": (
        "half_precision",
        facts("odd", sizes={"dense": 3000}, bad=(0, 9), dtype="float16"),
    ),
    "a division in half precision": ("layer_domain", facts("odd", bad=(0, 9), dtype="float16")),
    "a large rate": (
        "learning_rate",
        facts("total", later=GREW, optimizer={**SGD, "learning_rate": 10.0}),
    ),
    "large inputs": (
        "unscaled_inputs",
        facts("total", sizes={"input": 1e3, "dense": 500}, later=GREW),
    ),
    "large inputs that a layer scales": (
        "learning_rate",
        facts("total", sizes={"input": 1e3}, later=GREW,
              optimizer={**SGD, "learning_rate": 10.0}),
    ),
    "large targets": ("unscaled_targets", facts("total", sizes={"label": 1e4}, later=GREW)),
    "large first weights": (
        "initialization",
        facts("total", sizes={"dense": 100, "odd": 100, "dense_1": 1e4}, later=GREW),
    ),
    "momentum": (
        "optimizer_settings",
        facts("total", later=GREW, optimizer={**SGD, "momentum": 1.0}),
    ),
    "a bias that came as NaN, at the first step": (
        "inherited",
        facts("dense", step=0, bad=(32, 0), inherited="diverged"),
    ),
    "weights that came blown up": (
        "inherited",
        facts("total", sizes={"dense_1": 1e15, "prediction": 1e15, "total": 1e30},
              optimizer={**SGD, "learning_rate": 10.0}, inherited="runaway"),
    ),
    "weights that came from before it": (
        "learning_rate",
        facts("total", later=GREW, optimizer={**SGD, "learning_rate": 10.0},
              inherited="diverged"),
    ),
    "weights that had learned large targets": (
        "learning_rate",
        facts("total", sizes={"label": 1e4, "dense_1": 1e4, "prediction": 1e4},
              later=GREW, optimizer={**SGD, "learning_rate": 10.0}, inherited="diverged"),
    ),
    "a loss of ordinary numbers at the first step of a training that went on": (
        "loss_domain",
        facts("total", step=0, bad=(1, 0), inherited="diverged"),
    ),
    "large weights of a training that was well": (
        "learning_rate",
        facts("total", sizes={"dense": 100, "odd": 100, "dense_1": 1e4}, later=GREW,
              optimizer={**SGD, "learning_rate": 10.0}, inherited="clean"),
    ),
    "a beta of one": (
        "optimizer_settings",
        facts("total", later=GREW,
              optimizer={"class_name": "Adam", "learning_rate": 1e-3, "beta_1": 1.0}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_cause(case: str) -> None:
    cause, found = CASES[case]
    causes = diagnose(found)
    assert causes[0].id == cause
    assert causes[0].confidence >= MIN_CONFIDENCE
    assert causes[0].fix and len(causes[0].evidence) >= 2
    assert any(c.isdigit() for text in causes[0].evidence for c in text)
    assert all(0 <= c.confidence <= 1 and c.id in CAUSES for c in causes)
    assert sum(c.confidence for c in causes) <= 1


@pytest.mark.parametrize("case", CASES)
def test_no_rule_reads_a_name(case: str) -> None:
    _, found = CASES[case]
    renamed = copy.deepcopy(found)
    assert renamed.session is not None and renamed.origin is not None
    new = {
        n: f"n{i}"
        for i, n in enumerate(sorted({p.name for p in renamed.session.train_probes}))
    }
    layers = {p.layer for p in renamed.session.train_probes}
    for probe in renamed.session.train_probes:
        probe.name = new[probe.name]
        if probe.layer:
            probe.layer = f"l{sorted(layers).index(probe.layer)}"
    renamed.origin.name = new[renamed.origin.name]
    renamed.session.loss = "other"
    renamed.hparams = [HParam("learning_rate", 1e9, "float")]
    assert [(c.id, c.confidence) for c in diagnose(renamed)] == [
        (c.id, c.confidence) for c in diagnose(found)
    ]


@pytest.mark.parametrize(
    "case", [c for c in CASES if "first step" not in c and "columns" not in c]
)
def test_later_is_the_same_cause(case: str) -> None:
    cause, found = CASES[case]
    assert found.onset is not None
    assert found.onset.step > 0
    later = copy.deepcopy(found)
    assert later.onset is not None
    later.onset.step *= 1000
    later.ranges[0].steps[-1] *= 1000
    assert diagnose(later)[0].id == cause


# --- Inherited ---------------------------------------------------------------------------


def test_the_example_of_the_data_set_is_named_where_it_can_be_told() -> None:
    whole = facts(
        "input", step=3
    )  # the fourth batch of 32 rows; the third of them is bad
    (best, *_) = diagnose(whole)
    assert any("example 98 of epoch 1" in e and "32" in e for e in best.evidence)
    assert whole.session is not None and whole.onset is not None
    checked = replace(whole, onset=replace(whole.onset, phase="validation"))
    probes = whole.session.train_probes
    session = replace(whole.session, validation_probes=probes)
    (best, *_) = diagnose(replace(checked, session=session))
    assert any("example 98 of the validation data" in e for e in best.evidence)
    # A replica sees its share of the batch alone; a scalar has no rows.
    assert whole.origin is not None
    for silent in (
        replace(whole, session=replace(whole.session, replicas=2)),
        replace(whole, origin=replace(whole.origin, row=None)),
    ):
        (best, *_) = diagnose(silent)
        assert best.id == "nonfinite_data"
        assert not any("example" in e for e in best.evidence)


def test_inherited_says_whose_weights_and_what_drives_it_besides() -> None:
    _, found = CASES["weights that came blown up"]
    first, second = diagnose(found)[:2]
    assert "a training that had gone bad (runaway)" in " ".join(first.evidence)
    assert "1e+15 times the size of the data" in " ".join(first.evidence)
    assert second.id == "learning_rate"
    # The same numbers in a model's first training are its own fault.
    for status in (None, "clean", "contained", "unwatched"):
        own = copy.copy(found)
        own.inherited = status
        assert "inherited" not in {c.id for c in diagnose(own)}


# --- Validation --------------------------------------------------------------------------


def in_validation(
    origin: str,
    trained: dict[str, float] | None = None,
    validated: dict[str, float] | None = None,
    **more: Any,
) -> Facts:
    """A run that went bad in a validation pass after four steps of training.

    Args:
        origin: name of the first bad probe.
        trained: rms by name at the last step of training; `validated` in the pass.
    """
    found = facts(step=3, later=trained, **more)
    assert found.session is not None
    passed = facts(origin, step=0, sizes=validated, bad=(0, 1))
    assert passed.session is not None
    kept = [
        i
        for i, p in enumerate(passed.session.train_probes)
        if p.kind not in ("gradient", "weight")
    ]
    record = passed.ranges[0]
    found.session.validation_probes = [passed.session.train_probes[i] for i in kept]
    found.ranges.append(
        RangesRecord(
            "s", 1, phase="validation", steps=record.steps, stats=record.stats[:, kept],
            counts=record.counts[:, kept], bad_steps=record.bad_steps[:, kept],
            measured=record.measured,
        )
    )  # fmt: skip
    found.onset = Position("validation", 4, 0, 0)
    found.origin = passed.origin
    return found


BLOWN_UP = {"dense": 1e9, "odd": 1e9, "dense_1": 1e19, "prediction": 1e19}


def test_in_validation_a_divergence_is_diagnosed_like_one() -> None:
    fast = {**SGD, "learning_rate": 10.0}
    grew = {
        "dense_1": 1e17,
        "prediction": 1e17,
        "total": 1e34,
        "weight dense/kernel": 1e9,
    }
    for name, found in {
        "as the training shows": in_validation("total", grew, BLOWN_UP, optimizer=fast),
        # The last update alone did it: no step of training has seen its weights.
        "as validation shows": in_validation("total", None, BLOWN_UP, optimizer=fast),
    }.items():
        causes = diagnose(found)
        assert causes[0].id == "learning_rate", name
        assert "gradient_amplification" not in {c.id for c in causes}
        assert "initialization" not in {c.id for c in causes}
    settings = in_validation("total", grew, BLOWN_UP, optimizer={**SGD, "momentum": 1.0})
    assert diagnose(settings)[0].id == "optimizer_settings"
    inputs = in_validation(
        "total", grew, BLOWN_UP, sizes={"input": 1e3, "dense": 500, "odd": 500}
    )
    assert diagnose(inputs)[0].id == "unscaled_inputs"
    # What multiplied before anything was learned still counts, at the training's first.
    weights = in_validation(
        "total", grew, BLOWN_UP, sizes={"dense": 100, "odd": 1e4, "dense_1": 1e6}
    )
    assert diagnose(weights)[0].id == "initialization"


def test_in_validation_an_error_of_its_own_stays_one() -> None:
    fast = {**SGD, "learning_rate": 10.0}
    assert diagnose(in_validation("total", optimizer=fast))[0].id == "loss_domain"
    assert diagnose(in_validation("odd", optimizer=fast))[0].id == "layer_domain"
    # Larger data than the training's are no growth of the weights.
    large = {"input": 1e4, "dense": 1e4, "odd": 1e4, "dense_1": 1e4, "prediction": 1e4}
    assert diagnose(in_validation("total", None, large))[0].id == "loss_domain"


def test_without_the_training_s_record_nothing_is_said_to_be_its_first_step() -> None:
    found = in_validation("total", None, BLOWN_UP)
    del found.ranges[0]
    for cause in diagnose(found):
        assert cause.id not in ("gradient_amplification", "initialization")
        assert not any("before any update" in text for text in cause.evidence)


@pytest.mark.parametrize("status", ["clean", "contained", "unwatched"])
def test_a_run_that_did_not_go_bad_has_no_cause(status: Any) -> None:
    for _, found in CASES.values():
        well = copy.copy(found)
        well.status = status
        assert diagnose(well) == []


def test_without_records_it_is_unknown() -> None:
    (cause,) = diagnose(Facts("diverged", Position("train", 3, 0, 3)))
    assert (cause.id, cause.confidence) == ("unknown", 0.0)


def test_two_drivers_are_both_named() -> None:
    both = facts("total", sizes={"input": 100, "dense": 50}, later=GREW,
                 optimizer={**SGD, "learning_rate": 10.0})  # fmt: skip
    first, second = diagnose(both)[:2]
    assert {first.id, second.id} == {"unscaled_inputs", "learning_rate"}
    assert first.confidence < 0.7 and second.confidence > 0.2


def test_what_does_not_decide_is_unknown() -> None:
    # It grew, with a rate that is usual and nothing else that is not.
    causes = diagnose(facts("total", later=GREW, optimizer={"class_name": "Custom"}))
    assert causes[0].id == "unknown"


def test_records_of_other_widths_do_no_harm() -> None:
    for _, found in CASES.values():
        damaged = copy.deepcopy(found)
        assert damaged.session is not None
        del damaged.session.train_probes[5:]
        diagnose(damaged)
        damaged.session.train_probes.clear()
        diagnose(damaged)


def test_every_threshold_has_its_source() -> None:
    assert all(len(t.source) > 10 for t in THRESHOLDS.values())


@given(rate=st.floats(1e-8, 1e6))
def test_the_rate_to_try_is_below_the_one_that_went_bad(rate: float) -> None:
    causes = diagnose(
        facts("total", later=GREW, optimizer={**SGD, "learning_rate": rate})
    )
    (fix,) = [c.fix for c in causes if c.id == "learning_rate"]
    found = re.search(r"e\.g\. to (\S+),", fix)
    assert found is not None, fix
    assert float(found[1]) < rate / 2
    assert float(found[1]) <= 0.01  # what is usual for SGD
