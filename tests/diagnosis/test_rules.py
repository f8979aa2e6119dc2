"""Rules on hand-made records: what decides, and what must not."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch.diagnosis.facts import Scaling
from tb_nanwatch.diagnosis.ranking import Facts, diagnose, has_cause
from tb_nanwatch.diagnosis.rules import THRESHOLDS
from tb_nanwatch.record.schema import (
    CAUSES,
    Experiment,
    HParam,
    Operand,
    Position,
    RangesRecord,
)
from tests.diagnosis.records import (
    CASES,
    GREW,
    SGD,
    facts,
    met,
    operation,
    stalled,
)


@pytest.mark.parametrize("case", CASES)
def test_cause(case: str) -> None:
    cause, found = CASES[case]
    causes = diagnose(found)
    assert causes[0].id == cause
    assert causes[0].confidence >= THRESHOLDS["named"].value
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
    renamed.origin = replace(renamed.origin, name=new[renamed.origin.name])
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


def test_a_stall_says_what_was_skipped() -> None:
    said = "70 of 100 steps were skipped, since gradients were not finite, and the loss scale "
    said += "is down to 2.8e-17: nothing was learnt after step 29."
    assert said in diagnose(stalled())[0].evidence
    never = replace(stalled(), scaling=Scaling(100, 0, 0.0, None))
    assert "is down to 0: nothing was learnt." in " ".join(diagnose(never)[0].evidence)
    # It still learns now and then; and what it learns may be nothing.
    now = replace(stalled(), scaling=Scaling(70, 12, 2.0**-55, 98))
    (text,) = (e for e in diagnose(now)[0].evidence if "skipped" in e)
    assert "learnt after" not in text
    assert text.endswith(
        " In 12 of the other steps all gradients were 0: float16 holds none so small."
    )
    lost = replace(stalled(), scaling=Scaling(0, 90, 2.0**-55, 99))
    said = (
        "The loss scale is down to 2.8e-17, and in 90 of 100 steps all gradients were 0: "
    )
    assert said + "float16 holds none so small." in diagnose(lost)[0].evidence
    # Gradients of 0 that were divided by a scale of 0 broke the weights.
    broken = replace(never, status="diverged")
    assert diagnose(broken)[0].id == "loss_domain"
    assert any("100 of 100 steps were skipped" in e for e in diagnose(broken)[0].evidence)


def test_a_stall_without_a_first_tensor_has_no_known_cause() -> None:
    (cause,) = diagnose(replace(stalled(), origin=None))
    assert cause.id == "unknown"
    assert any("steps were skipped" in e for e in cause.evidence)


def test_weights_of_a_stalled_training_are_as_good_as_any() -> None:
    _, found = CASES["weights that came blown up"]
    own = replace(found, inherited="stalled")
    assert "inherited" not in {c.id for c in diagnose(own)}


# --- A leap ------------------------------------------------------------------------------

LEAPT = {"odd": 1e9, "dense_1": 1e9, "prediction": 1e9, "total": 1e18}


@pytest.mark.parametrize(
    "later",
    [
        {**LEAPT, "dense": 4.0},  # weights had a part in it
        {**LEAPT, "input": 1e6, "dense": 1e6},  # so large came in
        {**LEAPT, "dense": 1e3, "odd": 1e6, "dense_1": 1e9},  # layer by layer
        {**LEAPT, "odd": 1.0},  # a layer with weights of its own
        {"total": 1e18},  # no layer, but the loss
    ],
)
def test_a_layer_that_leaps_late_is_not_named_where_others_had_a_part(
    later: dict[str, float],
) -> None:
    named = diagnose(facts("total", later={**later, "dense/kernel": 1e18}))
    assert "layer_domain" not in {c.id for c in named}


def test_a_leap_leaves_large_inputs_their_part() -> None:
    given = facts("total", sizes={"input": 1e3, "dense": 500}, later=LEAPT)
    assert [c.id for c in diagnose(given)][:2] == ["layer_domain", "unscaled_inputs"]


# --- Float16, and where a derivative belongs ---------------------------------------------


def in_half(*tried: Experiment, step: bool | None = None, **more: Any) -> Facts:
    """A logarithm in float16, of a finite loss's ordinary numbers."""
    found = operation("Log", dtype="float16", finite_in_float32=step, **more)
    found.experiments = list(tried)
    return met(facts("total", bad=(1, 0)), found)


def tried(change: str, **more: Any) -> Experiment:
    return Experiment(change, f"with {change}", **{"finite": True, "steps": 60, **more})


EPSILON = Experiment("epsilon", "an epsilon", finite=True, steps=11, first=3)


@pytest.mark.parametrize(
    "found",
    [
        in_half(EPSILON, tried("float32")),
        in_half(EPSILON, step=True),
        # Rows that are left out take away what went bad, whatever was to blame.
        in_half(EPSILON, tried("rows"), step=True),
        in_half(EPSILON, tried("float32", tried=False, finite=False), step=True),
        # It learns no more in float32 than it did, and mends the fault all the same.
        in_half(EPSILON, tried("float32", learns=False, first_loss=2.0, last_loss=3.0)),
    ],
)
def test_float16_leads_where_float32_alone_keeps_it_finite(found: Facts) -> None:
    first, second = diagnose(found)
    assert (first.id, first.sure) == ("half_precision", "tested")
    assert (second.id, second.sure) == ("loss_domain", "tested")


@pytest.mark.parametrize("step", [True, False])
def test_rows_left_out_do_not_tell_a_domain_from_float16(step: bool) -> None:
    causes = {c.id: c.sure for c in diagnose(in_half(tried("rows"), step=step))}
    assert causes["loss_domain"] == ("unclear" if step else "tested")
    assert causes.get("half_precision") == ("tested" if step else None)


@pytest.mark.parametrize(
    "found",
    [
        in_half(EPSILON),
        in_half(EPSILON, step=False),
        # The training was run in float32, and went bad: the one step says no more.
        in_half(EPSILON, tried("float32", finite=False), step=True),
        in_half(
            EPSILON,
            tried("float32", learns=False, first_loss=2.0, last_loss=3e9),
            step=True,
        ),
        met(
            facts("total", bad=(1, 0)),
            operation("Log", dtype="float32", finite_in_float32=True),
        ),
        # What grew past float16 grows on in float32.
        met(
            facts("total", later=GREW, optimizer={**SGD, "learning_rate": 10.0}),
            operation("Square", dtype="float16", finite_in_float32=True),
        ),
    ],
)
def test_float16_is_not_named_where_float32_does_not_help(found: Facts) -> None:
    assert "half_precision" not in {c.id for c in diagnose(found)}


def test_another_operation_may_leave_its_domain_as_well() -> None:
    def named(*inputs: Operand, num_nan: int) -> Any:
        found = operation("RealDiv", inputs=list(inputs), num_nan=num_nan)
        found.experiments = [replace(EPSILON, finite=False, steps=1, note="f1 went bad")]
        return diagnose(met(facts("error", status="score_lost", bad=(1, 0)), found))[0]

    none = Operand("numerator", num_zero=1), Operand("denominator", num_zero=1)
    seen = named(*none, num_nan=1)
    assert seen.id == "metric_domain"
    assert "another operation leaves its domain as well" in seen.evidence[1]
    assert named(Operand("numerator"), none[1], num_nan=0).id == "metric_domain"
    # It overflowed, or was given what was bad already: an epsilon would have helped.
    assert named(Operand("numerator"), Operand("denominator"), num_nan=0).id == "unknown"
    assert named(Operand("numerator", num_nan=1), none[1], num_nan=1).id == "unknown"


@pytest.mark.parametrize("origin", ["dense_1/kernel", "dense/kernel"])
def test_a_derivative_belongs_where_its_operation_ran(origin: str) -> None:
    def named(**more: Any) -> list[str]:
        found = operation("AcosGrad", forward_type="Acos", **{"gradient": True, **more})
        return [c.id for c in diagnose(met(facts(origin), found))]

    assert named(in_model=True) == ["layer_domain"]
    assert named(in_model=True, layer="log") == ["layer_domain"]
    assert named(in_model=False)[0] == "loss_domain"
    # By where the gradient arrived first: nothing was seen, no derivative was, or a layer
    # calls a loss.
    as_before = [c.id for c in diagnose(facts(origin))]
    assert named(in_model=None) == as_before
    assert named(in_model=True, gradient=False) == as_before
    assert named(in_model=True, owner="the loss 'cosine'") == as_before


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
    # What stands before any weight was as large: it was given so.
    given = in_validation("total", None, {"odd": 1e9, **BLOWN_UP}, optimizer=fast)
    assert given.session is not None
    for probe in given.session.train_probes:
        if probe.kind == "weight" and probe.layer == "dense":
            probe.layer = "dense_1"
    assert diagnose(given)[0].id == "loss_domain"
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
        assert well.origin is not None
        # A metric is computed to be read, whether or not a score is made of it.
        read = status == "contained" and well.origin.kind == "metric"
        assert has_cause(status, well.origin) == read
        assert [c.id for c in diagnose(well)] == ["metric_domain"] * read


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


def test_the_momentum_that_an_optimizer_takes_by_default_makes_no_rate_too_high() -> None:
    """Muon's usual rate is for the momentum of 0.95 that Keras gives it."""

    def confidence(momentum: float) -> float:
        muon = {"class_name": "Muon", "learning_rate": 1e-3, "momentum": momentum}
        causes = diagnose(facts("total", later=GREW, optimizer=muon))
        return next(c.confidence for c in causes if c.id == "learning_rate")

    usual = {"class_name": "Adam", "learning_rate": 1e-3}
    causes = diagnose(facts("total", later=GREW, optimizer=usual))
    (expected,) = [c.confidence for c in causes if c.id == "learning_rate"]
    assert confidence(0.95) == expected < confidence(0.995)


@given(rate=st.floats(1e-8, 1e6))
def test_the_rate_to_try_is_below_the_one_that_went_bad(rate: float) -> None:
    causes = diagnose(
        facts("total", later=GREW, optimizer={**SGD, "learning_rate": rate})
    )
    (fix,) = [c.fix for c in causes if c.id == "learning_rate"]
    found = re.search(r"e\.g\. to (\de-\d+)", fix)
    assert found is not None, fix
    assert float(found[1]) < rate / 2
    assert float(found[1]) <= 0.01  # what is usual for SGD


def test_what_overflows_by_the_scale_of_the_inputs_is_their_fault_where_that_was_tried() -> (
    None
):
    tried = Experiment(
        "inputs", "the inputs standardised", True, 65, first=0, learns=True
    )

    def first(size: float = 70.0, says: str = "is beyond float32", **more: Any) -> str:
        run = facts("total", step=0, sizes={"input": size, "dense": size})
        after = operation("Exp", "risk = ops.exp(p)", owner="the loss 'cox'")
        after.finding = f"the argument was 1260: above 88.72 the result {says}"
        after.experiments = [replace(tried, **more)]
        return diagnose(met(run, after))[0].id

    assert first() == "unscaled_inputs"
    # Small inputs, another fault, and one that scaling leaves as it is, or that learns not.
    assert first(size=3.0) == "loss_domain"
    assert first(says="is NaN") == "loss_domain"
    assert first(finite=False, learns=None) == "loss_domain"
    assert first(learns=False) == "loss_domain"
