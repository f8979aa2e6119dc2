"""A share of the programs after public reports: what came out right must stay so.

`known.json` names what is wrong today of the share's programs: the test fails where one goes
wrong that is not listed, and where a listed one no longer does, so that its row goes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.public.run import (
    MODULE,
    PROGRAMS,
    RESULTS,
    expectation,
    judged,
    page,
    track_record,
    watched_together,
)

KNOWN = Path(__file__).with_name("known.json")
# Quick ones, of every form: gradient and value, loss, layer, labels, targets and XLA.
SHARE = ("01", "05", "15", "16", "20")


def known() -> dict[str, list[str]]:
    rows: dict[str, list[str]] = json.loads(KNOWN.read_text(encoding="utf-8"))
    return rows


def wrong(expect: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """Returns the facts that are wrong, and "never" for a cause that must not be named."""
    found = judged(expect, row)
    never = ["never"] if found.pop("cause") == "never" else []
    return [fact for fact, right in found.items() if right is False] + never


CHOSEN = [p for p in PROGRAMS if p.name[:2] in SHARE]


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return watched_together(CHOSEN)


@pytest.mark.slow
@pytest.mark.parametrize("program", CHOSEN, ids=lambda p: p.stem)
def test_what_is_found_stays_found(
    program: Path, rows: dict[str, dict[str, Any]]
) -> None:
    row = rows[program.stem]
    assert "error" not in row, row["error"]
    assert wrong(expectation(program), row) == known().get(program.stem, []), row


def test_known_rows_belong_to_the_share() -> None:
    names = {p.stem for p in PROGRAMS if p.name[:2] in SHARE}
    assert set(known()) <= names


def test_every_program_says_what_is_expected() -> None:
    keys = {"status", "phase", "step", "operation", "line_text", "causes", "never", "fix"}
    for program in PROGRAMS:
        expect = expectation(program)
        assert set(expect) - {"chain"} == keys, program.name
        assert not set(expect["causes"]) & set(expect["never"]), program.name
        text = program.read_text(encoding="utf-8")
        code = text.partition("\nEXPECT = {\n")[2].partition("\n}\n")[2]
        assert expect["line_text"] is None or expect["line_text"] in code, program.name


def test_the_page_is_that_of_the_results() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert MODULE.read_text(encoding="utf-8") == track_record(results)
    assert set(results["programs"]) <= {p.stem for p in PROGRAMS}
    text = (KNOWN.parents[2] / "docs" / "public.md").read_text(encoding="utf-8")
    assert text.endswith(page(results))
