"""Where in the user's own code an operation was called."""

from __future__ import annotations

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

from tb_nanwatch.schema import Source

_MAX_TEXT: Final = 200


@dataclass(frozen=True)
class Place:
    """A point in the user's code, resolved to a line only where it is needed."""

    code: CodeType
    line: int
    instruction: int

    def resolve(self) -> Source:
        """Returns file, line and text."""
        file = self.code.co_filename
        first, last, text = self.line, self.line, ""
        span = self._span()
        if span is not None:
            first, last = span
        lines = [linecache.getline(file, n).strip() for n in range(first, last + 1)]
        text = " ".join(line for line in lines if line)
        if len(text) > _MAX_TEXT:
            text = text[: _MAX_TEXT - 3] + "..."
        return Source(shown(file), self.line, self.code.co_name, text)

    def _span(self) -> tuple[int, int] | None:
        """Returns first and last line of the expression; from Python 3.11 on."""
        positions = getattr(self.code, "co_positions", None)
        if positions is None:
            return None
        found = next(islice(positions(), self.instruction // 2, None), None)
        if found is None or found[0] is None or found[1] is None:
            return None
        first, last = int(found[0]), int(found[1])
        return (first, last) if first == self.line and last - first < 20 else None


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
