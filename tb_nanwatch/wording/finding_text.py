# SPDX-License-Identifier: Apache-2.0
"""Sentences on a condition on hyperparameters that is associated with going bad, and on its test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import ConfirmationRecord
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.verdict_text import trials_text

# The usual level for one test of a condition that was fixed before the test.
LEVEL: Final = 0.05


def finding_text(
    fared: str, p: str, proved: bool, died: str, inside: int, more: int | None
) -> str:
    """Returns the first sentence of a finding.

    Args:
        fared: the condition, and how the trials fared with it and without it.
        p: the corrected p-value.
        proved: whether it settles it.
        died: the cause that all bad trials of the condition share, "" for none.
        inside: number of bad trials of the condition.
        more: how many more trials would settle it, None where that is not to be said.
    """
    if proved:
        cause = f" Cause in all {inside}: {died}." if died else ""
        return f"{fared}; corrected p = {p}.{cause}"
    would = (
        f"; {counted(more, 'more trial')}, half of them there, would settle it if they fared as "
        "these did"
        if more
        else ""
    )
    points = (
        f"but all {inside} died of the same cause: {died}."
        if died
        else "but what they died of points there."
    )
    return (
        f"{fared}. A hint: statistics alone do not settle it (corrected p = {p}{would}), "
        f"{points}"
    )


def fared_text(
    condition: str, inside: tuple[int, str], outside: tuple[int, int], further: bool
) -> str:
    """Returns how the trials fared with a condition and without it.

    Args:
        condition: in words.
        inside: bad trials of the condition, and all of them in words, "12 trials".
        outside: bad trials elsewhere, and all of them.
        further: whether another finding was told before, whose trials are left out.
    """
    elsewhere = "of the others" if further else "elsewhere"
    return (
        f"{condition} went bad in {inside[0]} of {inside[1]}, {elsewhere} {outside[0]} "
        f"of {outside[1]}"
    )


def saves_text(
    removed: tuple[int, int], lost: tuple[int, int], best_lost: bool | None
) -> str:
    """Returns the trials that an edit would have removed and lost, in words.

    Args:
        removed: bad trials that are gone, and all of them.
        lost: clean trials that are gone, and all of them.
        best_lost: whether the best trial is gone, None where none is the best.
    """
    text = (
        f"removes {removed[0]} of {removed[1]} bad trial{'' if removed[1] == 1 else 's'}, "
        f"loses {lost[0]} of {lost[1]} clean"
    )
    if best_lost is not None:
        text += ", best score " + ("lost" if best_lost else "kept")
    return text


def between_text(bound: str, good: str, bad: str, tried: bool = False) -> str:
    """Returns how the bound of an edit relates to the values that were tried.

    Args:
        bound: the last value that the edit keeps.
        good: the tried value next to it that stayed finite.
        bad: the first one that did not.
        tried: whether that was no trial's own, but tried in one that had gone bad.
    """
    when = " when tried" if tried else ""
    if good == bound:
        return f"{bound} was good, {bad} bad{when}"
    return f"{bound} lies between {good} (good) and {bad} (bad{when})"


def rival_text(
    condition: str,
    inside: tuple[int, int],
    outside: tuple[int, int],
    p: str,
    names: Sequence[str],
) -> str:
    """Returns a sentence on another condition that may be to blame.

    Args:
        condition: the other one, in words.
        inside, outside: bad trials with it and without it, and all of them.
        p: its corrected p-value.
        names: the hyperparameters that the causes point to, where it fits better.
    """
    fared = f"{inside[0]} of {inside[1]}, elsewhere {outside[0]} of {outside[1]}"
    if not names:
        return (
            f"{condition} goes with it about as well ({fared}): these trials cannot tell "
            "the two apart."
        )
    return (
        f"{condition} fits the counts better ({fared}; corrected p = {p}), but is probably "
        f"chance: what the trials died of points to {' and '.join(names)}."
    )


def also_had_text(name: str, value: str, others: int) -> str:
    """Returns that all bad trials of a condition share a value of a choice, too.

    Args:
        name, value: of the hyperparameter.
        others: trials of the condition that had another value.
    """
    text = f"Every bad trial of these also had {name} = {value}"
    if others == 0:
        return text + ", and no trial there had another: that cannot be told apart."
    return text + f"; only {trials_text(others)} there had another."


def counts_of(record: ConfirmationRecord, inside: bool) -> tuple[int, int]:
    """Returns the bad trials, and all, on one side of the condition."""
    side = [t for t in record.trials if t.inside == inside]
    return sum(t.bad for t in side), len(side)


def is_confirmed(record: ConfirmationRecord) -> bool:
    """Returns whether chance alone would seldom give such counts."""
    return record.p_value <= LEVEL * (1 + 1e-9)


def confirmation_text(record: ConfirmationRecord) -> str:
    """Returns "learning_rate >= 0.3 was confirmed by 10 short trials, 5 on each side: ..."."""
    there, inside = counts_of(record, True)
    elsewhere, outside = counts_of(record, False)
    was = "was" if is_confirmed(record) else "was not"
    sides = (
        f"{inside} on each side"
        if inside == outside
        else f"{inside} there and {outside} elsewhere"
    )
    other = f"with {record.other}" if record.other else "elsewhere"
    return (
        f"{record.condition} {was} confirmed by {inside + outside} short trials, {sides}: "
        f"p = {record.p_value:.1g} ({there} of {inside} went bad there, {elsewhere} of "
        f"{outside} {other}, within {counted(record.steps, 'step')})."
    )
