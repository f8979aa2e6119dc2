"""Two made-up searches, before and after an edit."""

from __future__ import annotations

import dataclasses

import pytest

from tb_nanwatch.reading.comparison.before_after import Half, before_after, space_of
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import Condition, HParam
from tests.reading.searches import (
    choice,
    frontier,
    learning_rate,
    search,
)


def half(
    name: str, trials: list[ComparedTrial], space: list[HParam] | None = None
) -> Half:
    declared = [h for t in trials for h in t.hparams] if space is None else space
    return Half(name, trials, space_of(declared), "min", "val_loss")


def rates(n: int, high: float, bad_from: float) -> list[ComparedTrial]:
    values = [1e-4 * (high / 1e-4) ** (i / (n - 1)) for i in range(n)]
    return [ComparedTrial([learning_rate(v, high)], v >= bad_from, v) for v in values]


def others(trials: list[ComparedTrial]) -> list[HParam]:
    """What of the space an edit of the learning rate leaves."""
    return [h for t in trials for h in t.hparams if h.name != "learning_rate"]


def test_an_edit_that_helps() -> None:
    found = before_after(
        half("before", rates(24, 1.0, 0.02)), half("after", rates(20, 0.02, 1.0))
    )
    assert found.shares[0].bad == 10 and found.shares[1].bad == 0
    assert found.p_value is not None and found.p_value < 0.001
    assert "That is fewer: exact test, p = " in found.verdict
    (change,) = found.changes
    assert change.hparam == "learning_rate"
    assert change.first == 'hp.Float("learning_rate", 1e-4, 1.0, sampling="log")'
    assert change.second == 'hp.Float("learning_rate", 1e-4, 0.02, sampling="log")'
    assert found.removed is not None
    assert found.removed.bad == (10, 10) and found.removed.clean == (0, 14)
    assert found.removed.best is False
    assert "removed 10 of 10 bad and 0 of 14 clean; the best one is still there" in (
        found.verdict
    )


def test_the_same_space_twice_is_chance() -> None:
    never = search(24, lambda v: v["learning_rate"] > 0.3, 1)
    again = search(24, lambda v: v["learning_rate"] > 0.3, 2)
    found = before_after(half("a", never), half("b", again))
    assert found.changes == [] and found.removed is None
    assert "may be chance" in found.verdict
    assert "search space is the same in both" in found.verdict


def test_an_edit_that_loses_the_best_trial_says_so() -> None:
    trials = frontier()
    space = [*others(trials), learning_rate(0.01, 0.1)]
    found = before_after(
        half("before", trials),
        half("after", [ComparedTrial([learning_rate(0.01, 0.1)], False, 1.0)], space),
    )
    assert found.removed is not None and found.removed.best is True
    assert "the best one among them" in found.verdict
    assert "(worse)" in found.verdict


def test_the_conditional_edit_removes_the_region_and_no_more() -> None:
    """As `edit.within` writes it: SGD's rate has a range, and a name, of its own."""
    rate = learning_rate(1e-3, 1.5)
    space = [
        *others(frontier()),
        dataclasses.replace(
            rate, conditions=[Condition("optimizer", ["rmsprop", "adam"])]
        ),
        dataclasses.replace(
            rate,
            name="learning_rate_sgd",
            max=0.05,
            active=False,
            conditions=[Condition("optimizer", ["sgd"])],
        ),
    ]
    found = before_after(half("before", frontier()), half("after", [], space))
    assert found.removed is not None
    assert found.removed.bad == (5, 5) and found.removed.clean == (0, 19)
    assert found.p_value is None
    assert "no trial yet" in found.verdict


def test_a_choice_that_is_gone() -> None:
    trials = frontier()
    space = [choice("optimizer", "adam", ["rmsprop", "adam"]), learning_rate(0.1, 1.5)]
    found = before_after(half("before", trials), half("after", [], space))
    assert found.removed is not None
    assert found.removed.bad == (5, 5) and found.removed.clean == (6, 19)
    texts = [c.text for c in found.changes]
    assert any(t.startswith("depth is gone; it was hp.Int(") for t in texts)


def declared(*names: str) -> list[HParam]:
    return [dataclasses.replace(learning_rate(0.1), name=n) for n in names]


def test_different_programs_are_no_edit() -> None:
    one = half("one", frontier(), declared("learning_rate", "units", "depth"))
    other = half("other", rates(9, 1.0, 0.5), declared("learning_rate", "epsilon"))
    found = before_after(one, other)
    assert found.removed is None
    assert "share 1 of 4 hyperparameters: these look like different programs" in (
        found.verdict
    )
    assert "5 of 24 trials went bad in one" in found.verdict
    for word in ("trials the edit", "best score", "same in both"):
        assert word not in found.verdict
    # The mirror: what share half of theirs are before and after an edit.
    akin = half(
        "other", rates(9, 1.0, 0.5), declared("learning_rate", "units", "epsilon")
    )
    found = before_after(one, akin)
    assert found.removed is not None and "the edit removed" in found.verdict
    assert "different programs" not in found.verdict


@pytest.mark.parametrize("direction, word", [("min", "better"), ("max", "worse")])
def test_better_is_by_the_objective(direction: str, word: str) -> None:
    one, other = (
        Half(n, [ComparedTrial([learning_rate(v)], False, s)], [], direction, "m")
        for n, v, s in (("a", 0.1, 2.0), ("b", 0.2, 1.0))
    )
    assert f"from 2 to 1 ({word})" in before_after(one, other).verdict


def test_other_objectives_are_not_compared() -> None:
    one, other = (
        Half(n, [ComparedTrial([learning_rate(0.1)], False, 1.0)], [], "min", n)
        for n in "ab"
    )
    assert "Their objectives differ" in before_after(one, other).verdict
