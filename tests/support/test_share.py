"""A share has every case or every trait, and a thorough run has all."""

from __future__ import annotations

from pathlib import Path

from tests.support.longest import LONGEST, place
from tests.support.share import by_turns, covering

ROOT = Path(__file__).parents[2]

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


def test_the_longest_files_are_there_and_come_first() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)
    first, last = f"{LONGEST[0]}::test_it", "tests/reading/test_reader.py::test_it[a]"
    assert place(first) < place(f"{LONGEST[1]}::test_it") < place(last)
