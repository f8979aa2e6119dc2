"""Which condition is put to the test, on which values, and by which test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch.confirming.draw import least_p, p_value_of, sides_of
from tb_nanwatch.reading.search.analysis import analyse
from tb_nanwatch.reading.search.hint import Hint, HintPart, hint_of
from tb_nanwatch.reading.search.statistics import fisher_exact
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import Condition, HParam, ShortTrial
from tb_nanwatch.stability.coordinates import Coordinates

RATE = HParam("rate", type="float", min=1e-4, max=10.0, sampling="log", default=1e-4)
OPTIMIZER = HParam(
    "optimizer", type="choice", values=["sgd", "adam"], ordered=False, default="sgd"
)


def trials(
    rates: Sequence[float], bad: Sequence[bool], died: str | None = "learning_rate"
) -> list[ComparedTrial]:
    found = []
    for rate, is_bad in zip(rates, bad, strict=True):
        about = rate if died == "learning_rate" else None
        fate = ComparedTrial(
            [], True, None, ("loss", "total"), died, about, None, "", "likely"
        )
        fate = fate if is_bad else ComparedTrial([], False, rate)
        found.append(replace(fate, hparams=[replace(RATE, value=rate)]))
    return found


def test_the_hint_is_the_reports() -> None:
    few = trials([0.01, 0.1, 5.0], [False, False, True])
    (finding,) = analyse("s", few).findings
    hint = hint_of(few)
    assert hint is not None and finding.p_value > 0.03
    assert (hint.text, hint.other) == (finding.condition, "rate <= 0.1")
    # What lies between the two sides is on neither.
    assert hint.holds({"rate": 5.0}) and hint.is_beyond({"rate": 0.1})
    assert not hint.holds({"rate": 1.0}) and not hint.is_beyond({"rate": 1.0})


def test_a_perfect_split_is_a_hint_without_a_known_cause() -> None:
    few = trials([0.01, 0.1, 4.0, 5.0], [False, False, True, True], died=None)
    assert not analyse("s", few).findings
    hint = hint_of(few)
    assert hint is not None and hint.text == "rate >= 4.0"


@pytest.mark.parametrize(
    "found",
    [
        # Proven by the search's own trials.
        trials(np.geomspace(1e-3, 10, 24).tolist(), [i > 11 for i in range(24)]),
        # Of one outcome.
        trials([0.01, 0.1, 4.0], [True, True, True]),
        trials([0.01, 0.1, 4.0], [False, False, False]),
        # No hyperparameter is to blame for what the data hold.
        trials([0.01, 0.1, 5.0, 6.0], [False, False, True, True], "nonfinite_data"),
        # Nothing parts them.
        trials([0.01, 0.1, 4.0, 5.0], [True, False, True, False], died=None),
    ],
)
def test_there_is_no_hint(found: list[ComparedTrial]) -> None:
    assert hint_of(found) is None


def test_pairs_share_all_but_what_the_condition_is_about() -> None:
    width = HParam("width", type="int", min=8, max=64, step=8, default=8)
    space = Coordinates.of([RATE, OPTIMIZER, width])
    hint = Hint(
        "", "", (HintPart("rate", 1.0, 0.1), HintPart("optimizer", levels=("sgd",)))
    )
    sides = sides_of(space, hint, 11, np.random.default_rng(0))
    assert sides is not None
    assert [inside for inside, _ in sides] == [False, True] * 5 + [False]
    for (_, outside), (_, inside) in zip(sides[::2], sides[1::2], strict=False):
        assert inside["width"] == outside["width"]
        assert inside["optimizer"] == "sgd" and float(str(inside["rate"])) >= 1.0
        assert outside["optimizer"] != "sgd" or float(str(outside["rate"])) <= 0.1
    assert len({v["width"] for _, v in sides}) > 1


def test_what_is_inactive_does_not_meet_a_condition() -> None:
    scoped = replace(RATE, conditions=[Condition("optimizer", ["sgd"])])
    space = Coordinates.of([OPTIMIZER, scoped])
    hint = Hint("", "", (HintPart("rate", 1.0, 0.1),))
    assert hint.is_beyond({"optimizer": "adam"}) and not hint.holds({"optimizer": "adam"})
    # With adam no rate is there to meet it: pairs share the optimizer that has one.
    sides = sides_of(space, hint, 8, np.random.default_rng(0))
    assert sides is not None and {v["optimizer"] for _, v in sides} == {"sgd"}


def test_a_side_without_values_is_told() -> None:
    hint = Hint("", "", (HintPart("rate", 100.0, 20.0),))
    assert sides_of(Coordinates.of([RATE]), hint, 6, np.random.default_rng(0)) is None


def side(bad: int, total: int, inside: bool) -> list[ShortTrial]:
    return [ShortTrial({}, inside, i < bad, 1) for i in range(total)]


def test_five_of_five_against_none_of_five() -> None:
    p = p_value_of(side(5, 5, True) + side(0, 5, False))
    assert p == pytest.approx(1 / math.comb(10, 5)) == pytest.approx(0.004, abs=1e-4)
    assert p_value_of(side(0, 5, True) + side(5, 5, False)) == pytest.approx(1.0)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_it_is_fishers_exact_test_of_one_side(n: int, m: int, data: Any) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    counted = sum(
        math.comb(n, k) * math.comb(m, a + b - k)
        for k in range(a, min(n, a + b) + 1)
        if a + b - k <= m
    ) / math.comb(n + m, a + b)
    p = p_value_of(side(a, n, True) + side(b, m, False))
    assert p == pytest.approx(counted)
    if a / n > b / m:
        assert p <= fisher_exact((a, n), (b, m)) + 1e-9


@pytest.mark.parametrize(("count", "proves"), [(4, False), (5, False), (6, True)])
def test_fewer_than_six_prove_nothing(count: int, proves: bool) -> None:
    assert (least_p(count) <= 0.05 + 1e-9) == proves
