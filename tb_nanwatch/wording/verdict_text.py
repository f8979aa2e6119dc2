# SPDX-License-Identifier: Apache-2.0
"""Sentences on a search in which no hyperparameter was found to blame; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.wording.counts import counted

NONE_LIVED: Final = (
    "No trial stayed finite, so none of the values that were tried is known to live; widen "
    "the space towards milder ones (a smaller learning rate first), or look for what all "
    "have in common: data, loss or model."
)
ONE_ALONE: Final = "One trial alone says nothing about its hyperparameters."
BLAMELESS: Final = ": no hyperparameter is to blame"


def trials_text(n: int) -> str:
    """Returns "1 trial" or "24 trials"."""
    return counted(n, "trial")


def all_the_same_text(total: int) -> str:
    """Returns that trials that all went bad had the same values."""
    return f"All {trials_text(total)} used the same values."


def same_values_text(mend: str, common: str, bad: int, total: int) -> str:
    """Returns the sentence for trials with the same values of which some went bad.

    Args:
        mend: the cause of all bad trials and its fix, sentences; "" for none.
        common: what all bad trials share, "" for nothing.
        bad, total: bad trials, and all.
    """
    if mend:
        return f"{mend} All trials used the same hyperparameter values."
    if common:
        return f"{common}; all trials used the same hyperparameter values."
    return (
        f"No hyperparameter took two values, so none can be compared; {bad} of "
        f"{trials_text(total)} went bad by chance (initial weights, order of the data)."
    )


def fix_text(fix: str, share: int, bad: int) -> str:
    """Returns the fix that `share` of the bad trials have."""
    return f"Fix: {fix}" if share == bad else f"Fix in {share} of them: {fix}"


def scale_first_text(rates: tuple[str, str] | None, all_bad: bool) -> str:
    """Returns the advice on unscaled data, and on the learning rates too high for them.

    Args:
        rates: the lowest and the highest of the bad trials; None where not known.
        all_bad: whether every trial went bad.
    """
    text = "Scale the data first"
    if rates is not None:
        low, high = rates
        # Of those that stayed finite nothing is said: another optimizer may bear more.
        whose = "tried" if all_bad else "of the bad trials"
        which = (
            f"rate {low} is" if low == high else f"rates {whose} ({low} to {high}) are"
        )
        text += f": at their present scale the learning {which} too high"
    return text + ", and only then search."


def alike_text(bad: int, parts: Sequence[str]) -> str:
    """Returns "9 of 9 bad trials alike: <cause>, first in <tensor>"."""
    if bad == 1:
        return f"The one bad trial: {', '.join(parts)}"
    return f"{bad} of {bad} bad trials alike: {', '.join(parts)}"


def none_found_text(mend: str, common: str, closest: str) -> str:
    """Returns the sentence for enough trials among which no difference stands out.

    Args:
        mend, common: as of `same_values_text`.
        closest: the condition that parts the trials best, "" for none.
    """
    text = "No hyperparameter goes with going bad"
    if mend:
        text = f"{mend} {text}"
    elif common:  # what they died of may well be a hyperparameter's doing
        text = f"{common}. The counts prove no condition on the hyperparameters"
    return f"{text}; {closest}." if closest else f"{text}."


def too_few_text(bad: int, total: int, mend: str, further: str) -> str:
    """Returns the sentence for too few trials: even a perfect split would prove nothing.

    Args:
        bad, total: bad trials, and all.
        mend: as of `same_values_text`.
        further: the condition that parts the trials without an exception, or how many
            more trials would settle it; "" where nothing is known.
    """
    trials = trials_text(total)
    what = trials if total <= 2 * bad + 4 else f"{bad} bad of {trials}"
    few = f"{what} {'is' if what == '1 trial' else 'are'} too few to tell"
    text = (
        f"{mend} {few} whether a hyperparameter has a part in it"
        if mend
        else f"{few} which hyperparameter is to blame"
    )
    return f"{text}; {further}." if further else f"{text}."


def closest_text(
    condition: str, inside: tuple[int, int], outside: tuple[int, int], p: str
) -> str:
    """Returns "the closest is learning_rate >= 0.1 (2 of 2, elsewhere 0 of 3; ...)"."""
    counts = f"{inside[0]} of {inside[1]}, elsewhere {outside[0]} of {outside[1]}"
    return f"the closest is {condition} ({counts}; corrected p = {p})"


def more_text(live: int, away: str, dead: int, there: str) -> str:
    """Returns "3 more at lr <= 1e-3 would settle it ...": `live` should stay finite."""
    text = f"{live} more at {away}"
    if dead:
        text += f" and {dead} more at {there}"
    return f"{text} would settle it if they fared as these did"
