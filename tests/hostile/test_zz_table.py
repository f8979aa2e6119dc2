"""The README's table of faults; it comes last, when everything has been tried.

`NANWATCH_UPDATE_README=1` writes it anew; otherwise the README must hold a row for
everything that was tried here, with nothing lost.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.hostile.conftest import Tally

README = Path(__file__).parents[2] / "README.md"
START, END = "<!-- robustness: made by make robustness -->", "<!-- /robustness -->"


def test_the_readme_says_what_was_tried(tally: Tally) -> None:
    assert all(lost == 0 for _, lost in tally.rows.values()), tally.rows
    text = README.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    table, end, after = rest.partition(END)
    assert start and end, f"README.md lacks {START} or {END}"
    if os.environ.get("NANWATCH_UPDATE_README") == "1":
        lines = ["| tried | number | survived | lost |", "|---|---|---|---|"]
        lines += [
            f"| {title} | {tried:,} | {tried - lost:,} | {lost:,} |"
            for title, (tried, lost) in tally.rows.items()
        ]
        table = "\n" + "\n".join(lines) + "\n"
        README.write_text(before + start + table + end + after, encoding="utf-8")
    shown = dict(re.findall(r"^\| (.+?) \| [\d,]+ \| [\d,]+ \| (\d+) \|$", table, re.M))
    for title in tally.rows:
        assert shown.get(title) == "0", f"{title!r}: run `make robustness`"
