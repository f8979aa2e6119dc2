# SPDX-License-Identifier: Apache-2.0
"""Puts text made by a script into its place within a page that people write."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, start: str, end: str, made: str) -> None:
    """Replaces what stands between the lines `start` and `end` of a page.

    Raises:
        RuntimeError: the page lacks one of the two lines.
    """
    before, found_start, rest = page.read_text(encoding="utf-8").partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise RuntimeError(
            f"{page.name} lacks the lines {start} and {end}: put them back"
        )
    page.write_text(f"{before}{start}\n{made}\n{end}{after}", encoding="utf-8")
