"""A condition on hyperparameters that goes with going bad, in words; pure."""

from __future__ import annotations


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
        f"; {more} more trials, half of them there, would settle it if they fared as "
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
    """Returns what an edit would have removed and lost.

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
