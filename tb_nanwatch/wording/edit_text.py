# SPDX-License-Identifier: Apache-2.0
"""Sentences on where to paste an edit's code, and what to do afterwards; pure."""

from __future__ import annotations

from typing import Final, Literal

from tb_nanwatch.record.parts import CELL

REMINDER: Final = "Search again with overwrite=True or a new project_name: else the old space is reloaded."
# Where the code goes that says it of values which no search space declares.
BY_HAND: Final = "In your own code, skip the values for which this is true:"
# Where the code of an edit goes: before all else in `build`, for a statement, for a call,
# above a statement, or above the one that the reader has to look for; "by hand" where no
# space declares the values, in a loop of one's own.
Place = Literal["first", "statement", "call", "above", "declaration", "by hand"]


def where_text(place: Place, source: str, variable: str, name: str) -> str:
    """Returns where the code of an edit goes, a sentence.

    Args:
        place: not "by hand".
        source: "file:line" of the declaration, "" where it is not known.
        variable: to which the program assigns the value.
        name: of the hyperparameter.
    """
    file, _, line = source.rpartition(":")
    at = f"in line {line} of its cell" if file == CELL else f"at {source}"
    return {
        "first": "Put this first in build(): of two declarations of a name the first counts.",
        "statement": f"Replace the statement {at} by this.",
        "call": f"Replace the call {at} by this.",
        "above": f"Put this above the statement {at}, and write `{variable}` for the call "
        "there.",
        "declaration": f"Put this above the statement in build() that declares `{name}`, and "
        f"write `{variable}` for the call there.",
    }[place]
