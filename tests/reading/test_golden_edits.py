"""The edits that the tab writes by itself are this package's: one file of answers for both.

frontend/test/cut.test.ts reads the same file. An answer that changes here has to change
there: rewrite the file's `code` with what `answer` returns, and see the tab's test fail.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch import codec, schema
from tb_nanwatch.reading import edit
from tb_nanwatch.reading.axes import Axis
from tb_nanwatch.reading.edit import Cut

GOLDEN = json.loads(
    (
        Path(__file__).resolve().parents[2]
        / "frontend"
        / "test"
        / "golden"
        / "edits.json"
    ).read_text("utf-8")
)


def axis(spec: dict[str, Any]) -> Axis:
    return Axis(spec["name"], [codec.build(schema.HParam, spec, "spec")])


def answer(case: dict[str, Any]) -> str | None:
    if case["op"] == "in":
        cut = Cut(case["spec"]["name"], "in", values=tuple(case["values"]))
    else:
        cut = Cut(case["spec"]["name"], case["op"], case["bound"])
    if case["parent"] is None:
        found = edit.unconditional(cut, axis(case["spec"]))
    else:
        found = edit.within(
            cut,
            axis(case["spec"]),
            axis(case["parent"]),
            [case["level"]],
            set(case["taken"]),
        )
    return found.code if found else None


@pytest.mark.parametrize("case", GOLDEN["edits"], ids=lambda c: c["spec"]["name"])
def test_edits_are_those_of_the_tab(case: dict[str, Any]) -> None:
    assert answer(case) == case["code"]


@pytest.mark.parametrize("case", GOLDEN["bounds"])
def test_bounds_are_those_of_the_tab(case: dict[str, Any]) -> None:
    short = edit.short_between(case["live"], case["dead"], case["log"])
    assert short == case["short"]


def test_both_kinds_of_cut_are_there() -> None:
    assert {case["op"] for case in GOLDEN["edits"]} == {"ge", "le", "in"}
