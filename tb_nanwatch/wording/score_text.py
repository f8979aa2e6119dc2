# SPDX-License-Identifier: Apache-2.0
"""How a tuner misread a run that went bad, in words; pure."""

from __future__ import annotations


def scored_text(score: float, name: str | None) -> str:
    """Returns which score was taken, by name where no tuner took it; another text goes on."""
    if name is not None:
        return f"Its score is the {name} {score:.5g}"
    return f"KerasTuner completed it with the score {score:.5g}, that"


def damaged_text(scored: str, epoch: int, what: str) -> str:
    """Returns that a score was measured on a model that was not finite.

    Args:
        scored: the beginning.
        epoch: counted from 0.
        what: "weights" and the like, "" where a log does not tell.
    """
    return (
        f"{scored} of epoch {epoch + 1}, measured while {what or 'the model'} held NaN or "
        "infinite values: it compares with nothing."
    )


def stale_text(scored: str, epoch: int, onset: int) -> str:
    """Returns that a score is of an epoch before the first bad one, counted from 0."""
    return f"{scored} of epoch {epoch + 1}; it went bad in epoch {onset + 1}."


def infinite_text(score: float, read_as_zero: bool, minimised: bool) -> str:
    """Returns that KerasTuner took an infinite objective, which its oracle may have read."""
    text = f"KerasTuner took the infinite objective ({score}) for a result."
    if read_as_zero:
        text += " The Bayesian oracle read it as 0"
        if minimised:
            text += ", to be minimised: better than any positive loss"
        text += ", and chose later values by that."
    return text
