# SPDX-License-Identifier: Apache-2.0
"""Texts as lists of sentences, and names as lists in a sentence; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# Trials that a sentence lists.
_MAX_NAMES: Final = 6


def names_text(names: Sequence[str]) -> str:
    """Returns "Trial #3, #15 and 2 more" of names that stand once each."""
    shown = list(names[:_MAX_NAMES])
    for begin, kept in (("Trial #", "#"), ("run ", "")):
        if all(name.startswith(begin) for name in shown):
            shown = [shown[0], *(kept + name.removeprefix(begin) for name in shown[1:])]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def without(text: str, said: str) -> str:
    """Returns a text without the sentences that `said` holds already."""
    return " ".join(sentence for sentence in sentences(text) if sentence not in said)


def first_sentence(text: str) -> str:
    """Returns a text's first sentence, with its full stop."""
    return sentences(text)[0]


def sentences(text: str) -> list[str]:
    """Returns a text's sentences, with their full stops; one at least."""
    return re.split(r"(?<=\.)(?<!e\.g\.) ", text)
