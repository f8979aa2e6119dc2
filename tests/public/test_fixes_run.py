"""A share of the printed fixes is applied and trained; the others' records must fit the programs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.public.fixes import altered, applied, mended, page, table
from tests.public.run import PAGE, PROGRAMS, watched_together

# Quick ones: an expression of the user's own, and one that has to be spelled out.
SHARE = ("01", "18")
APPLIED = [p for p in PROGRAMS if table()["programs"].get(p.stem, {}).get("edits")]


def row_of(program: Path) -> dict[str, Any]:
    found: dict[str, Any] = table()["programs"][program.stem]
    return found


CHOSEN = [p for p in PROGRAMS if p.name[:2] in SHARE]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return watched_together(CHOSEN)


@pytest.mark.slow
@pytest.mark.parametrize("program", CHOSEN, ids=lambda p: p.stem)
def test_what_is_printed_mends_the_program(
    program: Path, found: dict[str, dict[str, Any]]
) -> None:
    row = applied(program, row_of(program), found[program.stem])
    assert row["printed"] == row["fix"]
    assert mended(row), row["ran"]


@pytest.mark.parametrize("program", APPLIED, ids=lambda p: p.stem)
def test_a_fix_is_applied_as_it_is_worded(program: Path) -> None:
    row = row_of(program)
    changed = altered(program.read_text(encoding="utf-8"), row["edits"])
    expressions = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(changed))
        if isinstance(node, ast.expr | ast.stmt)
    }
    shown = re.findall(r"(?:as in|instead:) `(.+?)`", row["fix"])
    written = [ast.unparse(ast.parse(text)) for text in shown]
    # Of a softmax, of a likelihood and of a variable's beginning it shows a second way.
    other = "likelihood" in row["fix"] or row["fix"].startswith("Begin the variable")
    assert not shown or other or expressions & set(written)


def test_every_program_has_a_row() -> None:
    assert list(table()["programs"]) == [p.stem for p in PROGRAMS]


def test_what_cannot_be_applied_is_told() -> None:
    with pytest.raises(ValueError, match="0 times in the program: 'b'"):
        altered("a", [["b", "c"]])
    row = {"fix": "Do this.", "printed": "Do that.", "edits": [["a", "b"]]}
    assert not mended({**row, "ran": {"finite": True, "learns": True}})


def test_the_page_is_that_of_the_table() -> None:
    assert page(table()) in PAGE.read_text(encoding="utf-8")
