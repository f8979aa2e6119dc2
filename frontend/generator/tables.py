# SPDX-License-Identifier: Apache-2.0
"""The tables of http_api.md, between its marks: of each class the fields, in its order."""

from __future__ import annotations

import re

from generator.classes import classes, hints_of, said_of
from generator.typescript import typescript

_PART = re.compile(r"(<!-- fields of (\w+) -->\n)(.*?)(<!-- end -->\n)", re.S)


def generate(page: str) -> str:
    """Returns the page with the tables of today.

    Raises:
        ValueError: a class has no table, or a table no class.
    """
    known = {cls.__name__: cls for cls in classes()}
    there = [name for _, name, _, _ in _PART.findall(page)]
    if sorted(there) != sorted(known):
        raise ValueError(
            f"http_api.md lacks tables of {sorted({*known} - {*there})} and has those of "
            f"{sorted({*there} - {*known})}; expected one of each class that is sent"
        )
    return _PART.sub(lambda m: f"{m[1]}{_table(known[m[2]])}{m[4]}", page)


def _table(cls: type) -> str:
    promised = getattr(cls, "IN_REPORT", None)
    said = said_of(cls)
    rows = []
    for name, hint in hints_of(cls).items():
        star = "" if promised is None or name in promised else " ¹"
        kind = typescript(hint).replace("|", "\\|")
        rows.append(f"| `{name}`{star} | {kind} | {said[name].replace('|', chr(92) + '|')} |")
    return "\n".join(["", "| field | type | |", "|---|---|---|", *rows, "", ""])
