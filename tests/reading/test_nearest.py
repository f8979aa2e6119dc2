"""A name that does not exist is answered with those that come nearest to it."""

from __future__ import annotations

from tb_nanwatch.reading.comparison.nearest import expected_text, listing, nearest

NAMES = ["before", "after", "cnn/0/execution0", "cnn/1/execution0", "Trial #1"]


def test_the_nearest_names() -> None:
    assert nearest("befor", NAMES) == ["before"]
    assert nearest("AFTER", NAMES) == ["after"]
    assert nearest("trial 1", NAMES) == ["Trial #1"]
    assert nearest("cnn/1/execution", NAMES)[0] == "cnn/1/execution0"
    assert nearest("cnn", NAMES) == ["cnn/0/execution0", "cnn/1/execution0"]
    assert nearest("xyz", NAMES) == nearest("", NAMES) == []


def test_an_error_names_the_nearest_first_and_the_others_too() -> None:
    assert expected_text("befor", NAMES[:2]) == (
        "the nearest name is 'before'; there is also 'after'"
    )
    assert expected_text("cnn", NAMES[2:4]) == (
        "the nearest names are 'cnn/0/execution0', 'cnn/1/execution0'"
    )
    assert expected_text("xyz", NAMES[:2]) == "expected one of 'before', 'after'"
    assert listing([str(n) for n in range(10)]).endswith("'7' and 2 more")
