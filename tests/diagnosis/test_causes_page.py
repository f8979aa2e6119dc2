"""docs/causes.md says of each cause what its rules say: their signs, their fixes, their thresholds.

`NANWATCH_UPDATE_DOCS=1` writes these parts of the page anew from the rules; what a cause
means is written by hand.
"""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks.made import put
from tb_nanwatch.diagnosis import ranking as diagnosis
from tb_nanwatch.diagnosis.ranking import Facts, diagnose
from tb_nanwatch.diagnosis.rules import THRESHOLDS
from tb_nanwatch.diagnosis.rules.domain import left_domain
from tb_nanwatch.reading.search.verdict import NOT_OF_THE_SPACE
from tb_nanwatch.record.schema import CAUSES, Position
from tests.diagnosis.records import CASES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "causes.md"
RULES = sorted((ROOT / "tb_nanwatch" / "diagnosis" / "rules").glob("*.py"))
UPDATE = os.environ.get("NANWATCH_UPDATE_DOCS") == "1"
HOW = "run NANWATCH_UPDATE_DOCS=1 pytest tests/diagnosis/test_causes_page.py"


def with_thresholds(text: str) -> str:
    """Returns `text` with the values of the thresholds that it names in braces."""
    values = {name: t.value for name, t in THRESHOLDS.items()}
    return re.sub(r"\{(\w+)\}", lambda m: f"{values[m[1]]:g}", " ".join(text.split()))


@cache
def signs() -> dict[str, list[str]]:
    """Returns what the docstrings of all rules say below "Signs:", by cause."""
    found: dict[str, list[str]] = {}
    for path in [*RULES, Path(str(diagnosis.__file__))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            _, below, text = (ast.get_docstring(node) or "").partition("Signs:\n")
            if not below:
                continue
            for cause, said in re.findall(
                r"^    (\w+): (.+?)(?=^    \w|\Z)", text, re.MULTILINE | re.DOTALL
            ):
                found.setdefault(cause, []).append(with_thresholds(said))
    return found


@cache
def fixes() -> dict[str, list[str]]:
    """Returns every fix that the rules give for the records of tests/diagnosis."""
    found: dict[str, list[str]] = {}
    runs = [facts for _, facts in CASES.values()]
    for facts in [*runs, Facts("diverged", Position("train", 3, 0, 3))]:
        first = diagnose(facts)[0]
        if first.fix not in found.setdefault(first.id, []):
            found[first.id].append(first.fix)
    return found


def block(cause: str) -> str:
    where = (
        "Lies in the program or its data: where all bad trials of a search share it, the "
        "verdict says so, with the fix.\n\n"
        if cause in NOT_OF_THE_SPACE
        else ""
    )
    recognised = "\n".join(f"- {s[0].upper()}{s[1:]}" for s in signs()[cause])
    change = "\n".join(f"- {fix}" for fix in fixes()[cause])
    return f"{where}Recognised by:\n\n{recognised}\n\nWhat to change:\n\n{change}"


def ordinary() -> str:
    doc = ast.get_docstring(ast.parse(f'"""{left_domain.__doc__}"""')) or ""
    return with_thresholds(doc.partition("\n\n")[2])


def thresholds() -> str:
    rows = [
        f"| {name} | {t.value:g} | {t.source.replace('|', chr(92) + '|')} |"
        for name, t in THRESHOLDS.items()
    ]
    return "\n".join(["| threshold | value | source |", "|---|---|---|", *rows])


def holds(name: str, made: str) -> None:
    start = f"<!-- {name}: made by tests/diagnosis/test_causes_page.py -->"
    end = f"<!-- /{name} -->"
    if UPDATE:
        put(PAGE, start, end, made)
    assert f"{start}\n{made}\n{end}" in PAGE.read_text(encoding="utf-8"), HOW


@pytest.mark.parametrize("cause", CAUSES)
def test_the_page_says_of_a_cause_what_its_rules_say(cause: str) -> None:
    holds(cause, block(cause))


@pytest.mark.parametrize(
    "name, made", [("ordinary", ordinary()), ("thresholds", thresholds())]
)
def test_the_page_says_what_decides(name: str, made: str) -> None:
    assert made
    holds(name, made)


def test_every_cause_is_explained_under_its_public_name_and_no_other() -> None:
    sections = re.findall(
        r"^### `(\w+)`\n\n(.+?)\n\n<!-- (\w+): made",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert [name for name, _, _ in sections] == list(CAUSES)
    assert all(name == marked for name, _, marked in sections)
    assert all(len(meaning.split()) >= 15 for _, meaning, _ in sections)


def test_every_cause_that_a_rule_proposes_has_its_signs() -> None:
    proposed = {"unknown"}
    for path in RULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Candidate":
                assert isinstance(node.args[0], ast.Constant)
                proposed.add(node.args[0].value)
    assert proposed == set(signs()) == set(fixes()) == set(CAUSES)


@pytest.mark.parametrize("page", ["README.md", "docs/diagnosis.md"])
def test_the_page_is_found(page: str) -> None:
    link = "docs/causes.md" if page == "README.md" else "causes.md"
    assert f"]({link})" in (ROOT / page).read_text(encoding="utf-8")
