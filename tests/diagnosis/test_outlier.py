"""Outliers are named where a measurement ties the fault to them, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_nanwatch.diagnosis.ranking import Facts, diagnose
from tb_nanwatch.record.schema import (
    RANGE_COLUMNS,
    Experiment,
    FlightRecord,
    Operand,
    Outlier,
    Position,
    PostMortem,
    Since,
)
from tests.diagnosis.records import (
    CASES,
    GREW,
    LINE,
    SGD,
    facts,
    met,
    operation,
    outlier,
)


def loss(**more: Any) -> Facts:
    """A run whose loss is the first bad tensor, after three sound steps."""
    return facts("total", bad=(1, 0), **more)


def with_fill_value(size: float = 1e37, **more: Any) -> Facts:
    """The same, where this batch's inputs, and all made of them, are as large."""
    large = dict.fromkeys(("input", "dense", "odd", "dense_1", "prediction"), size)
    return loss(later=large, **more)


LOG = operation("Log", LINE, rows=[3], outliers=[outlier()])


def test_row_column_value_and_what_was_usual_are_told() -> None:
    first, second, *_ = diagnose(met(loss(), LOG))
    assert first.id == "outlier_data" and first.confidence > 0.9
    said = " ".join(first.evidence)
    assert "column 1 of row 3 of the input is -9999" in said
    assert "in the 5 batches before at most 3.1 in size" in said
    assert "row 3 alone went bad" in said
    assert "example 99 of epoch 1" in said  # the fourth batch of 32
    assert "-9999 in the input" in first.fix and "np.abs(x)" in first.fix
    # What met it without a guard comes second, and its fix with the first.
    assert second.id == "loss_domain"
    assert "train.py:12" in first.fix and "ops.log(ops.maximum(p, 1e-7))" in first.fix


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"batches": 1}, "in the batch before at most 3.1 in size"),
        ({"batches": 0}, "in the other rows at most 3.1 in size"),
        ({"column": [5, 3, 0]}, "column (5, 3, 0) of row 3 of the input"),
        ({"column": []}, "this batch row 3 of the input is -9999"),
        ({"name": "label['a']"}, "row 3 of the label ['a'] is -9999"),
        ({"count": 7}, "7 values in 1 of 32 rows are as far out"),
    ],
)
def test_the_sentence_says_no_more_than_was_measured(
    changed: dict[str, Any], words: str
) -> None:
    found = replace(LOG, outliers=[outlier(**changed)])
    assert words in " ".join(diagnose(met(loss(), found))[0].evidence)


# Only this batch makes the operation bad, and it does so with earlier weights too.
ALONE = Since(batches=5, bad=0, steps=7, was_bad=True)
FILL = outlier(value=9.97e36, rows=[3, 8])


@pytest.mark.parametrize(
    ("found", "tie"),
    [
        (replace(LOG, rows=[3, 8], outliers=[FILL]), "the rows 3, 8 alone"),
        (
            operation("MatMul", inputs=[Operand("input", max=9.97e36)], outliers=[FILL]),
            "a number of that size (input: 9.97e+36)",
        ),
        (operation("Square", outliers=[FILL]), "Its square is beyond 3.4e+38"),
        (
            operation("Log", LINE, outliers=[outlier()], since=ALONE),
            "With the same weights no batch before goes bad in that operation",
        ),
        # Its step could not be run again; the batch was looked at all the same.
        (PostMortem(reason="rounding", outliers=[FILL]), "Its square is beyond"),
        (
            operation("Mul", dtype="float16", outliers=[outlier(value=300.0, usual=0.2)]),
            "Its square is beyond 6.55e+04, the largest float16",
        ),
    ],
)
@pytest.mark.parametrize("run", [loss(), with_fill_value()])
def test_it_leads_where_it_is_tied_to_the_fault(
    run: Facts, found: PostMortem, tie: str
) -> None:
    causes = diagnose(met(run, found))
    assert causes[0].id == "outlier_data"
    assert tie in " ".join(causes[0].evidence)
    # Settings that had done well until then are no longer blamed.
    settings = {"learning_rate", "unscaled_inputs", "unscaled_targets", "initialization"}
    assert not settings & {c.id for c in causes}


def test_without_the_outlier_the_same_record_blames_the_growth() -> None:
    fill = with_fill_value()
    assert diagnose(met(fill, replace(LOG, outliers=[])))[0].id == "learning_rate"
    assert diagnose(met(fill, LOG))[0].id == "outlier_data"


@pytest.mark.parametrize(
    "found",
    [
        replace(LOG, rows=[3, 4]),  # another row went bad just so
        replace(LOG, rows=[]),
        replace(LOG, rows=[0], outliers=[outlier(size=1, rows=[0], batches=0)]),
        replace(LOG, rows=[], inputs=[Operand("argument", min=0.0, max=1.0)]),
        operation("MatMul", inputs=[Operand("input", max=5e3)], outliers=[outlier()]),
        replace(LOG, held="dense/kernel", op=None),  # a weight was bad before
        PostMortem(reason="rounding", outliers=[outlier()]),
    ],
)
def test_an_outlier_that_nothing_ties_to_the_fault_is_not_named(
    found: PostMortem,
) -> None:
    assert "outlier_data" not in {c.id for c in diagnose(met(loss(), found))}


def test_a_training_that_had_blown_up_before_was_not_felled_by_a_row() -> None:
    # A large row overflows first, whatever drove the numbers there.
    fast = {**SGD, "learning_rate": 10.0}
    early = {"total": 1.0}
    run = facts("total", step=3, sizes=early, later=GREW, optimizer=fast)
    record = run.ranges[0]
    grown = replace(
        record,
        steps=record.steps[[0, 1, 1]].copy(),
        stats=record.stats[[0, 1, 1]].copy(),
        counts=record.counts[[0, 1, 1]].copy(),
        bad_steps=record.bad_steps[[0, 1, 1]],
        measured=record.measured[[0, 1, 1]],
    )
    grown.steps[1] = [2, 2]  # the step before was as large, and finite
    grown.counts[1] = 0
    grown.stats[1, :, :5] = 1e6
    blown_up = replace(run, ranges=[grown])
    assert diagnose(met(run, LOG))[0].id == "outlier_data"
    assert diagnose(met(blown_up, LOG))[0].id == "learning_rate"


@pytest.mark.parametrize(
    "kind", ["NaN in the batch", "a weight that was NaN before the first step"]
)
def test_what_was_bad_before_anything_was_computed_comes_first(kind: str) -> None:
    cause, found = CASES[kind]
    known = found.postmortem or PostMortem(reproduced=True, data="input", rows=[3])
    assert diagnose(met(found, replace(known, outliers=[outlier()])))[0].id == cause


# --- In a batch before -------------------------------------------------------------------


def thrown_off(
    at: int = 5,
    onset: int = 7,
    *,
    data: float = 560.0,
    leap: float = 1e5,
    before: float = 1.0,
    recorded: bool = True,
) -> Facts:
    """A run that goes bad at `onset`, and whose loss leapt at the step `at`.

    Args:
        data: rms of the inputs at that step: that of one -9999 in 320 values is 559.
        leap: the loss of that step; `before` that of the one before it.
        recorded: whether the flight recorder holds these steps.
    """
    run = facts("total", step=onset, later=GREW, optimizer={**SGD, "learning_rate": 0.01})
    assert run.session is not None
    probes = run.session.train_probes
    rms = np.ones((onset, len(probes)), np.float32)
    names = [(p.kind, p.name) for p in probes]
    rms[at, names.index(("input", "input"))] = data
    rms[at:, names.index(("loss", "total"))] = leap
    rms[at - 1, names.index(("loss", "total"))] = before
    record = FlightRecord(
        "s", 0, phase="train", steps=np.arange(onset), rms=rms,
        full_steps=np.zeros(0, np.int64),
        stats=np.zeros((0, len(probes), len(RANGE_COLUMNS)), np.float32),
        counts=np.zeros((0, len(probes), 3), np.int64),
    )  # fmt: skip
    return replace(run, flight=[record] if recorded else [])


def of_before(ago: int = 2, **more: Any) -> PostMortem:
    return operation(
        "Square", owner="the loss 'mse'", outliers=[outlier(ago=ago, **more)]
    )


def test_a_row_that_threw_the_weights_off_is_named_some_steps_later() -> None:
    first, *others = diagnose(met(thrown_off(), of_before()))
    assert first.id == "outlier_data" and not others
    said = " ".join(first.evidence)
    assert "In the batch 2 steps earlier column 1 of row 3 of the input was -9999" in said
    assert "(step 5) loss, gradients or activations leapt 1e+05-fold" in said
    assert "example 163 of epoch 1" in said  # row 3 of the sixth batch of 32
    assert "clipnorm" in first.fix and "-9999 in the input" in first.fix
    # Of another epoch no example can be told.
    early = thrown_off()
    early.onset = Position("train", 7, 1, 1)
    assert "example" not in " ".join(diagnose(met(early, of_before()))[0].evidence)
    (once,) = diagnose(met(thrown_off(6), of_before(1)))
    assert "In the batch 1 step earlier" in " ".join(once.evidence)


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (thrown_off(), of_before(3)),  # nothing leapt at that step
        (thrown_off(leap=500.0), of_before()),
        (thrown_off(before=2e3, leap=1e9), of_before()),  # it had blown up before
        (thrown_off(data=500.0), of_before()),  # that batch held no such value
        (thrown_off(), of_before(name="label", column=[])),
        (thrown_off(recorded=False), of_before()),
        (replace(thrown_off(), ranges=[]), of_before()),
    ],
)
def test_an_earlier_row_is_not_named_where_its_step_does_not_show_it(
    run: Facts, found: PostMortem
) -> None:
    assert "outlier_data" not in {c.id for c in diagnose(met(run, found))}


def test_a_long_run_s_wide_buckets_neither_hide_nor_invent_the_leap() -> None:
    run = thrown_off()
    record, flight = run.ranges[0], run.flight[0]
    onset = 10_007
    run.onset = Position("train", onset, 0, onset)
    # One bucket holds the leap, the explosion and many sound steps before them.
    wide = replace(record, steps=np.array([[0, 31], [9_984, 10_015]], np.int64))
    flight = replace(flight, steps=flight.steps + 10_000)
    long = replace(run, ranges=[wide], flight=[flight])
    assert diagnose(met(long, of_before()))[0].id == "outlier_data"
    assert diagnose(met(long, of_before(3)))[0].id != "outlier_data"


def test_what_the_failing_step_s_own_bucket_holds_had_not_grown_before() -> None:
    run = with_fill_value()
    wide = replace(run.ranges[0], steps=np.array([[0, 31], [9_984, 10_015]], np.int64))
    long = replace(run, onset=Position("train", 10_007, 0, 10_007), ranges=[wide])
    assert diagnose(met(long, LOG))[0].id == "outlier_data"


def test_that_this_batch_without_some_rows_goes_bad_refutes_no_earlier_one() -> None:
    run, found = thrown_off(), of_before()
    assert run.onset is not None
    step = run.onset.step

    def first(begun: int) -> str:
        tried = Experiment("rows", "the rows left out", False, 1, first=begun)
        return diagnose(met(run, replace(found, experiments=[tried])))[0].id

    assert first(step) == "outlier_data"
    assert first(step - found.outliers[0].ago) != "outlier_data"


def test_two_tensors_are_told_and_no_more() -> None:
    many = [outlier(name=f"input[{n}]", value=-9999.0 - n) for n in range(3)]
    first = diagnose(met(loss(), replace(LOG, outliers=many)))[0]
    assert sum("In this batch" in e for e in first.evidence) == 2


def test_the_experiment_without_the_row_supports_or_refutes_it() -> None:
    def ids(finite: bool) -> list[str]:
        run = loss()
        assert run.onset is not None
        tried = Experiment(
            "rows", "the rows left out", finite, 11 if finite else 1, first=run.onset.step
        )
        return [c.id for c in diagnose(met(run, replace(LOG, experiments=[tried])))]

    assert ids(True)[0] == "outlier_data"
    assert "outlier_data" not in ids(False)


@pytest.mark.parametrize("status", ["clean", "contained"])
def test_a_run_that_did_not_go_bad_has_none(status: Any) -> None:
    assert diagnose(met(replace(loss(), status=status), LOG)) == []


def test_a_damaged_record_does_no_harm() -> None:
    for damaged in (Outlier(""), Outlier("x[", [9], column=[-1]), outlier(size=0)):
        diagnose(met(loss(), replace(LOG, outliers=[damaged])))
        diagnose(met(replace(loss(), session=None), replace(LOG, outliers=[damaged])))


@pytest.mark.parametrize(
    "since",
    [
        replace(ALONE, bad=1),
        replace(ALONE, batches=0),
        replace(ALONE, was_bad=False),
        replace(ALONE, was_bad=None),
        None,
    ],
)
def test_what_other_batches_or_the_weights_do_ties_nothing_to_it(
    since: Since | None,
) -> None:
    found = operation("Log", LINE, outliers=[outlier()], since=since)
    assert "outlier_data" not in {c.id for c in diagnose(met(loss(), found))}


def test_a_guard_that_helps_says_nothing_against_the_outlier_that_needs_it() -> None:
    """Whether there was time to leave the row out is chance."""
    guarded = Experiment(
        "epsilon", "an epsilon", finite=True, steps=11, first=3, learns=None
    )
    first, second, *_ = diagnose(met(loss(), replace(LOG, experiments=[guarded])))
    assert (first.id, second.id) == ("outlier_data", "loss_domain")
    assert second.sure == "tested"
