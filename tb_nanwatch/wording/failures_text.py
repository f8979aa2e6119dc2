# SPDX-License-Identifier: Apache-2.0
"""Trials that an exception ended or that were not watched, in words; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

# Exceptions of one search that the verdict quotes, and messages of one of them.
_MAX_TOLD: Final = 3
_INTERRUPTED: Final = "KeyboardInterrupt"


def failed_with_text(said: str) -> str:
    """Returns the message of the exception that ended a run, worded for its row."""
    if said == _INTERRUPTED:
        return "it was interrupted by hand (KeyboardInterrupt)."
    return f"it failed with {said}"


def reasons_text(reasons: Sequence[str]) -> str:
    """Returns why trials were not watched, the most frequent reason first; "" for none.

    Args:
        reasons: of each trial, "" where it is not known.
    """
    return " ".join(
        f"Why: {why}." if n == len(reasons) else f"{n} of them: {why}."
        for why, n in Counter(filter(None, reasons)).most_common(_MAX_TOLD)
    )


def failures_text(found: Mapping[str, Sequence[str]]) -> str:
    """Returns a sentence for each type of exception, the most frequent first; "" for none.

    Args:
        found: by type, what the exceptions of the trials said.
    """
    kinds = sorted(found.items(), key=lambda item: -len(item[1]))
    sentences = [
        f"{len(said)} {'was' if len(said) == 1 else 'were'} interrupted by hand."
        if kind == _INTERRUPTED
        else f"{len(said)} failed with {kind}, not by going bad{_messages(said)}."
        for kind, said in kinds[:_MAX_TOLD]
    ]
    rest = sum(len(said) for _, said in kinds[_MAX_TOLD:])
    if rest:
        sentences.append(f"{rest} failed with other exceptions.")
    return " ".join(sentences)


def _messages(said: Sequence[str]) -> str:
    """Returns ": no data" of exceptions of one type, with counts where messages differ."""
    counts = Counter(one.partition(": ")[2].rstrip(".") for one in said)
    if len(counts) == 1:
        (message,) = counts
        return f": {message}" if message else ""
    told = counts.most_common(_MAX_TOLD)
    parts = [f"{message or 'no message'} ({n} of them)" for message, n in told]
    rest = len(said) - sum(n for _, n in told)
    if rest:
        parts.append(f"other messages ({rest})")
    return f": {'; '.join(parts)}"
