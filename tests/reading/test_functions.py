"""No function of the package is so long that it cannot be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tb_nanwatch"
# Lines of a function, its docstring not counted.
MOST = 59


def too_long(source: str, most: int = MOST) -> Iterator[str]:
    """Yields name and length of each function of more lines than `most`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        length = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            assert docstring.end_lineno is not None
            length -= docstring.end_lineno - docstring.lineno + 1
        if length > most:
            yield f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    found = list(too_long(path.read_text(encoding="utf-8")))
    assert not found, (
        f"{name}: {', '.join(found)}; expected at most {MOST}. Give a part of it a name."
    )


def test_every_file_names_its_licence() -> None:
    unnamed = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if "SPDX-License-Identifier: Apache-2.0" not in path.read_text("utf-8")[:120]
    ]
    assert not unnamed


def test_a_long_function_is_found() -> None:
    body = "\n".join("    a = 1" for _ in range(MOST))
    docstring = '    """' + "\n" * 40 + '    """'
    assert list(too_long(f"def f():\n{body}\n")) == [f"f has {MOST + 1} lines"]
    short = body.replace("    a = 1\n", "", 1)
    assert not list(too_long(f"def f():\n{docstring}\n{short}\n"))
