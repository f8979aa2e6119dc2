# SPDX-License-Identifier: Apache-2.0
"""Hides values of single rows of data in reports that are passed on; pure.

A report that leaves the machine names row and column, and what was wrong there, but not
the value, unless somebody asks for it. Ranges and counts over a whole batch are no values
of a row, and stay.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from tb_nanwatch.record.schema import Link, PostMortem
from tb_nanwatch.record.strict_json import LeftOut

# Stands where a value was left out.
LEFT_OUT: Final = "[left out]"
_UNTOLD: Final = LeftOut(math.nan)
# The note that is printed once where values were left out.
NOTE: Final = (
    f"{LEFT_OUT}: the value of a single row of your data; --with-data (with_data=True) "
    "shows it."
)


def of_a_row(link: Link) -> bool:
    """Returns whether the numbers of a link are those of one row, or of the data."""
    return link.row >= 0 or link.origin == "data"


def without_values(found: PostMortem | None) -> PostMortem | None:
    """Returns a post-mortem in which every value of a single row is left out."""
    if found is None:
        return None
    return replace(
        found,
        chain=[_without(link) if of_a_row(link) else link for link in found.chain],
        outliers=[replace(o, value=_UNTOLD) for o in found.outliers],
    )


def _without(link: Link) -> Link:
    return replace(link, value=_UNTOLD, low=_UNTOLD, high=_UNTOLD, operands=[])
