"""The table of what can be watched: made by training each kind in each mode.

    python -m tests.writing.coverage            trains all of it (20 minutes), writes the table
    python -m tests.writing.coverage WORDS...   only the kinds with these words in their name

The outcomes are kept beside this file; the tests train a part of the cells again, and hold
that docs/coverage.md shows them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.made import put
from tests.writing.kinds import BUILDS, KINDS, MODES, Kind, outcome

KEPT: Final = Path(__file__).with_suffix(".json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "coverage.md"
START: Final = "<!-- coverage: made by python -m tests.writing.coverage -->"
END: Final = "<!-- /coverage -->"


def cells() -> Iterator[tuple[Kind, str, str]]:
    """Yields kind, build and mode of each cell, row by row."""
    for kind in KINDS:
        for mode in MODES:
            for build in kind.builds:
                yield kind, build, mode


def key(kind: Kind, build: str, mode: str) -> str:
    """Returns the name under which an outcome is kept."""
    return f"{kind.name} | {mode} | {build}"


def kept() -> dict[str, str]:
    """Returns the outcomes by the names of their cells."""
    found: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def table(outcomes: dict[str, str]) -> str:
    """Returns the table: a row a kind, a column a mode and a way to build the model."""
    builds = ["built", "no Input", "subclassed"]
    heads = [f"{mode}, {build}" for mode in MODES for build in builds]
    lines = ["| training | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for kind in KINDS:
        row = [kind.name]
        for mode in MODES:
            found = [outcomes[key(kind, build, mode)] for build in kind.builds]
            row += found if len(found) == len(BUILDS) else [*found, "", ""]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains every cell, or those of the kinds that are named, and writes the page."""
    named = sys.argv[1:]
    before = kept() if named else {}
    found: dict[str, str] = {}
    for kind, build, mode in cells():
        cell = key(kind, build, mode)
        if named and not any(words in kind.name for words in named):
            if cell in before:
                found[cell] = before[cell]
            continue
        with tempfile.TemporaryDirectory() as log_dir:
            found[cell] = outcome(kind, build, mode, Path(log_dir))
        print(f"{cell}: {found[cell]}", flush=True)
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    put(PAGE, START, END, table(found))
    sys.exit(
        any(text.startswith(("raises", "is said", "lacks")) for text in found.values())
    )


if __name__ == "__main__":
    main()
