"""What people read is worded in one room: reading/ decides, and wording/ has the words."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

import tb_nanwatch

READING: Final = Path(tb_nanwatch.__file__).parent / "reading"
MODULES: Final = {
    path.relative_to(READING).as_posix(): path for path in sorted(READING.rglob("*.py"))
}
# Modules that hold a sentence all the same, each with the reason.
ALLOWED: Final = {
    "model_name.py": "the end that its errors share",
    "tab/responses.py": "the script that stands for a tab that was not built",
}
# Five words in a row; a value that is filled in counts as one.
SENTENCE: Final = re.compile(r"(?:\b[\w'’`/=-]+[`)]?[,.]? [(`]?){4}[\w'’-]")
# What is raised, warned of, logged or answered with an error stays where the error is
# known, and the help of an option where the option is.
ERRORS: Final = {"warn", "warning", "debug", "error", "argument", "_json_argument"}
OPTIONS: Final = {"add_argument", "add_parser", "ArgumentParser"}


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
        return name in ERRORS | OPTIONS
    return isinstance(node, ast.Raise)


def sentences_of(code: str) -> list[str]:
    """Returns the literals of a module that are sentences, wherever they stand in it."""
    found = []
    left = [ast.parse(code)]
    while left:
        node: ast.AST = left.pop()
        if _is_left_out(node):
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [
            v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "x"
            for v in parts
        ]
        # Tags of HTML part sentences.
        text = re.sub(r"<[^<>]*>", "\n", "".join(texts))
        if SENTENCE.search(text):
            found.append(text)
        left += [
            child
            for child in ast.iter_child_nodes(node)
            if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant))
        ]
    return found


@pytest.mark.parametrize("module", sorted(MODULES.keys() - ALLOWED.keys()))
def test_a_module_that_reads_words_nothing(module: str) -> None:
    assert not sentences_of(MODULES[module].read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", ALLOWED)
def test_no_module_is_allowed_what_it_does_not_need(module: str) -> None:
    assert sentences_of(MODULES[module].read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "code",
    [
        'TEXT = "No trial stayed finite at all."',
        'def f(n):\n    return f"{n} trials went bad here."',
        "def f(n):\n    return f\"{n} {'of all the bad trials' if n else 0}\"",
        'def f(n):\n    return f"<p>It went bad in <b>{n}</b>.</p>" + "of them all went bad"',
    ],
)
def test_a_sentence_is_found(code: str) -> None:
    assert len(sentences_of(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        'def f():\n    """Returns what is said of a trial."""',
        'raise ValueError(f"the value {1} is no number at all")',
        'parser.add_argument("--all", help="print every trial, and all that is known")',
        'STYLE = "color: inherit; font: 14px system-ui, sans-serif; margin: 0 auto"',
        'def f(a, b):\n    return f"<td>{a} of {b}</td><td>{a} of {b}</td>"',
    ],
)
def test_what_is_no_sentence_is_not_found(code: str) -> None:
    assert not sentences_of(code)
