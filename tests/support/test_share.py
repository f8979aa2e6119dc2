"""A share has every case or every trait, and a thorough run has all."""

from __future__ import annotations

from tests.support.share import by_turns, covering

CASES = [("a", ("x", "y")), ("b", ("x", "y")), ("c", ("x",)), ("d", ("x", "y", "z"))]


def test_every_case_has_one_way_and_all_thoroughly() -> None:
    assert by_turns(CASES, thorough=False) == [
        *(("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")),
    ]
    assert by_turns(CASES, thorough=True) == [(c, w) for c, ways in CASES for w in ways]


def test_every_trait_is_met_with_the_last_cases_first() -> None:
    cases = ["a", "b", "c", "ab", "cd"]
    assert covering(cases, set, thorough=False) == ["ab", "cd"]
    assert covering(["a", "ab", "b"], set, thorough=False) == ["ab", "b"]
    assert covering(cases, set, thorough=True) == cases
