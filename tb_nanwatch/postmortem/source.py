# SPDX-License-Identifier: Apache-2.0
"""Where in the user's own code an operation was called."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import os
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import Final

from tb_nanwatch.record.schema import Source

_MAX_TEXT: Final = 200
_MAX_LINES: Final = 20


@dataclass(frozen=True)
class Place:
    """A point in the user's code, resolved to a line only where it is needed."""

    code: CodeType
    line: int
    instruction: int

    def resolve(self) -> Source:
        """Returns file, line and text."""
        file = self.code.co_filename
        text = linecache.getline(file, self.line).strip()
        span = self._span()
        if span is not None:  # an expression over several lines
            first, last, begin, end = span
            lines = [linecache.getline(file, n) for n in range(first, last + 1)]
            lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
            lines[0] = lines[0].encode()[begin:].decode(errors="ignore")
            text = _in_one_line("".join(lines))
        if len(text) > _MAX_TEXT:
            text = text[: _MAX_TEXT - 3] + "..."
        return Source(shown(file), self.line, self.code.co_name, text)

    def _span(self) -> tuple[int, int, int, int] | None:
        """Returns lines and columns of an expression over several; from Python 3.11."""
        positions = getattr(self.code, "co_positions", None)
        if positions is None:
            return None
        found = next(islice(positions(), self.instruction // 2, None), None)
        if found is None or None in found:
            return None
        first, last, begin, end = found
        if first != self.line or not 0 < last - first < _MAX_LINES:
            return None
        return first, last, begin, end


def _in_one_line(expression: str) -> str:
    try:
        return ast.unparse(ast.parse(f"({expression}\n)", mode="eval"))
    except (SyntaxError, ValueError):  # not an expression: a statement
        return " ".join(expression.split())


def shown(file: str) -> str:
    """Returns the path relative to the working directory, where it is below that."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # another drive
        return file
    if file.startswith("<") or relative.startswith(os.pardir):
        return file
    return relative.replace(os.sep, "/")


@lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    """Returns the directories in which no code is the user's."""
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib")}
    found.add(sysconfig.get_path("platlib"))
    found.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for package in ("tensorflow", "keras", "keras_tuner", "numpy"):
        spec = importlib.util.find_spec(package) if package in sys.modules else None
        if spec is not None and spec.origin:
            found.add(os.path.dirname(spec.origin))
    both = {path for path in found if path} | {os.path.realpath(p) for p in found if p}
    return tuple(os.path.join(path, "") for path in sorted(both))


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Returns whether `file` holds the user's own code."""
    if file.startswith(("<frozen", "<__array_function__", "<attrs", "<decorator")):
        return False
    parts = file.replace(os.sep, "/").split("/")
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    if parts[-1].startswith("__autograph_generated"):
        return False
    return not file.startswith(_libraries())
