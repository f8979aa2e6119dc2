# SPDX-License-Identifier: Apache-2.0
"""The names that come nearest to one that does not exist; pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

# Names that an error lists, and that it suggests.
_MAX_LISTED: Final = 8
_MAX_NEAREST: Final = 3


def nearest(name: str, names: Sequence[str]) -> list[str]:
    """Returns the few of `names` that are most like `name`, whatever its capitals."""
    folded: dict[str, str] = {}
    for known in names:
        folded.setdefault(known.casefold(), known)
    wanted = name.casefold()
    close = difflib.get_close_matches(wanted, folded, _MAX_NEAREST)
    # A part of a longer name is seldom like the whole.
    parts = [f for f in folded if wanted and wanted in f and f not in close]
    return [folded[f] for f in [*close, *parts][:_MAX_NEAREST]]


def expected_text(name: str, names: Sequence[str]) -> str:
    """Returns which names could have been given, the nearest first."""
    close = nearest(name, names)
    others = [known for known in names if known not in close]
    if not close:
        return f"expected one of {listing(names)}"
    said = f"the nearest {'name is' if len(close) == 1 else 'names are'} {listing(close)}"
    return (
        f"{said}; there {'is' if len(others) == 1 else 'are'} also {listing(others)}"
        if others
        else said
    )


def listing(names: Sequence[str]) -> str:
    """Returns "'a', 'b' and 12 more"."""
    shown = ", ".join(repr(n) for n in names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
