"""The table of faults in docs/robustness.md; it comes last, when everything has been tried.

`NANWATCH_UPDATE_DOCS=1` writes it anew; otherwise the page must hold a row for
everything that was tried here, with nothing lost.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.made import put
from tests.hostile.conftest import Tally

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
START, END = "<!-- robustness: made by make robustness -->", "<!-- /robustness -->"


def test_the_page_says_what_was_tried(tally: Tally, full: bool) -> None:
    assert all(lost == 0 for _, lost in tally.rows.values()), tally.rows
    if os.environ.get("NANWATCH_UPDATE_DOCS") == "1":
        # Of what the other run tried, the numbers stay.
        before = shown()
        lines = ["| tried | CI | `make robustness` | lost |", "|---|---|---|---|"]
        for title, (tried, lost) in tally.rows.items():
            numbers = before.get(title, ["", "", ""])[:2]
            numbers[full] = f"{tried:,}"
            lines.append(f"| {title} | {numbers[0]} | {numbers[1]} | {lost:,} |")
        put(PAGE, START, END, "\n".join(lines))
    rows = shown()
    for title in tally.rows:
        assert rows.get(title, [""])[-1] == "0", f"{title!r}: run `make robustness`"


def shown() -> dict[str, list[str]]:
    """Returns title to numbers tried by CI, by `make robustness`, and lost."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition(START)[2].partition(END)[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {title: numbers for title, *numbers in cells}
