"""Values of single rows of data: what is said of them where a report is passed on; pure.

A report that leaves the machine names row and column, and what was wrong there, but not
the value, unless somebody asks for it. Ranges and counts over a whole batch are no values
of a row, and stay.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from tb_nanwatch.record.schema import Link, PostMortem

# Stands where a value was left out.
LEFT_OUT: Final = "[left out]"
# What is said once where that occurs.
NOTE: Final = (
    f"{LEFT_OUT}: the value of a single row of your data; --with-data (with_data=True) "
    "shows it."
)


def of_a_row(link: Link) -> bool:
    """Returns whether the numbers of a link are those of one row, or of the data."""
    return link.row >= 0 or link.origin == "data"


def without_values(found: PostMortem | None) -> dict[str, Any] | None:
    """Returns a post-mortem as JSON has it, null for every value of a single row."""
    if found is None:
        return None
    told = dataclasses.asdict(found)
    for link, entry in zip(found.chain, told["chain"], strict=True):
        if of_a_row(link):
            entry |= {"value": None, "low": None, "high": None, "operands": []}
    for entry in told["outliers"]:
        entry["value"] = None
    return told
