"""What is said of how far an experiment went, and the margin where that is not far."""

from __future__ import annotations

from typing import Any

import pytest

from tb_nanwatch.diagnosis import rules
from tb_nanwatch.diagnosis.answer import answer_of
from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.diagnosis.ranking import Cause, diagnose
from tb_nanwatch.diagnosis.tested import covered_text, is_short
from tb_nanwatch.record.schema import (
    BadTensor,
    Experiment,
    Position,
    PostMortem,
    SessionRecord,
)

PLAIN = {"class_name": "SGD", "learning_rate": 1.0}


def lowered(divisor: float = 10, steps: int = 100, **more: Any) -> Experiment:
    fields = {"finite": True, "learns": True, "value": 1 / divisor, "batches": steps}
    return Experiment(
        f"learning_rate/{divisor:g}", "a lower rate", steps=steps, **{**fields, **more}
    )


def facts(
    *tried: Experiment, epoch: int = 0, planned: int = 0, optimizer: Any = None
) -> Facts:
    return Facts(
        "diverged",
        Position("train", 35, 0, 35),
        BadTensor("loss", "total", num_nan=1, size=1),
        postmortem=PostMortem(
            experiments=list(tried), epoch_steps=epoch, planned_steps=planned
        ),
        session=SessionRecord("s", 0, [], [], optimizer=optimizer or PLAIN),
    )


@pytest.mark.parametrize(
    ("planned", "epoch", "made", "said", "short"),
    [
        (100, 50, {}, "That is the whole training.", False),
        (60, 30, {}, "The whole training has 60.", False),
        (100, 50, {"first": 30}, "That is from there to the end of the training.", False),
        (
            150,
            50,
            {},
            "Those are 100 of the training's 150 steps, 64 of them after the failing one.",
            False,
        ),
        (
            201,
            50,
            {},
            "Those are 100 of the training's 201 steps, 64 of them after the failing one.",
            True,
        ),
        (
            150,
            120,
            {"batches": 40},
            "Those are 100 of the training's 150 steps, 64 of them after the failing one; "
            "an epoch has 120; on 40 batches again and again.",
            True,
        ),
        (
            0,
            0,
            {"batches": 1},
            "64 of them after the failing one; on 1 batch again and again.",
            True,
        ),
        # A log of before these were written.
        (
            0,
            0,
            {"batches": 0},
            "64 of them after the failing one.",
            False,
        ),
    ],
)
def test_how_far_it_went_is_said(
    planned: int, epoch: int, made: dict[str, Any], said: str, short: bool
) -> None:
    kept = lowered(**made)
    known = facts(kept, epoch=epoch, planned=planned)
    assert covered_text(known, kept) == said
    assert is_short(known, kept) is short


def top(monkeypatch: pytest.MonkeyPatch, known: Facts) -> Cause:
    found = [rules.Candidate("learning_rate", 3.0, evidence=["a"])]
    monkeypatch.setattr(rules, "candidates", lambda measured: found)
    return diagnose(known)[0]


def test_a_fix_leaves_a_margin_where_the_test_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fix(*tried: Experiment, planned: int) -> tuple[str, float | None]:
        cause = top(monkeypatch, facts(*tried, planned=planned))
        return cause.fix, cause.held

    assert fix(lowered(), planned=100) == ("Lower the learning rate to 0.1.", 0.1)
    halved = (
        "Lower the learning rate to 0.05, 1/2 of the 0.1 that was tested: the test is "
        "short beside the training."
    )
    assert fix(lowered(), planned=1000) == (halved, 0.05)
    assert fix(lowered(), lowered(20), planned=1000) == (halved, 0.05)
    # With half of it it was seen not to learn.
    idle = lowered(20, learns=False)
    assert fix(lowered(), idle, planned=1000) == ("Lower the learning rate to 0.1.", 0.1)


def test_the_rates_of_a_schedule_are_told_by_its_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fix(schedule: dict[str, Any], planned: int = 100) -> str:
        tried = Experiment("schedule/10", "lower", True, 100, learns=True, value=0.1)
        tried.batches = 100
        optimizer = {"class_name": "SGD", "learning_rate": schedule}
        return top(monkeypatch, facts(tried, planned=planned, optimizer=optimizer)).fix

    steps = {"class_name": "PiecewiseConstantDecay", "config": {"values": [2.0, 1.0]}}
    assert fix(steps) == (
        "Lower all rates of the schedule to 1/10 of what they are: "
        "PiecewiseConstantDecay(values=[0.2, 0.1], ...)."
    )
    decay = {"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 1.0}}
    assert fix(decay, planned=1000) == (
        "Lower all rates of the schedule to 1/20 of what they are: ExponentialDecay("
        "initial_learning_rate=0.05, ...), of which 1/10 was tested: the test is short "
        "beside the training."
    )
    assert fix({"class_name": "Mine", "config": {}}) == (
        "Lower all rates of the schedule to 1/10 of what they are."
    )


def test_whose_derivative_it_is_is_said_when_it_is_known() -> None:
    cause = Cause("loss_domain", 0.9, reasons=["a"])
    known = facts()
    known.origin = BadTensor("gradient", "dense/kernel", num_nan=1, size=1)

    def label() -> str:
        answer = answer_of(known, [cause])
        assert answer is not None
        return answer.cause

    known.postmortem = None
    assert label() == "a derivative left its domain, in the loss or inside the model"
    known.postmortem = PostMortem(op="tf.math.sqrt", op_type="SqrtGrad", finding="1 is 0")
    known.postmortem.forward_type = "Sqrt"
    assert label().endswith(" in the loss")
    known.postmortem, known.origin = None, BadTensor("loss", "total", num_nan=1, size=1)
    assert label() == "the loss left its domain"
