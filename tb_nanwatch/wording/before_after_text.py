"""What an edit between two searches changed and removed, and what came of it, in words; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import Condition

NO_FATE: Final = "One of the searches has no trial yet whose fate is known."
SAME_SPACE: Final = (
    "The search space is the same in both: what differs lies in the model, the data or "
    "chance."
)
OTHER_OBJECTIVE: Final = "Their objectives differ, and so their scores say nothing."


def no_space_text(name: str) -> str:
    """Returns what stands for the declaration of a hyperparameter that has none."""
    return f"{name} without a search space"


def scoped_text(code: str, parents: Sequence[Condition]) -> str:
    """Returns a declaration with the values of its parents that it holds for."""
    for parent in reversed(parents):
        values = ", ".join(str(v) for v in parent.values)
        code += f" where {parent.name} in ({values})"
    return code


def change_text(name: str, before: str | None, after: str | None) -> str:
    """Returns how the declaration of a hyperparameter was edited; None where it has none."""
    if before is None:
        return f"{name} is new: {after}."
    if after is None:
        return f"{name} is gone; it was {before}."
    return f"{name} was {before}, and is {after}."


def removed_text(
    search: str, bad: tuple[int, int], clean: tuple[int, int], best: bool | None
) -> str:
    """Returns what of a search's trials an edit removed, as a sentence.

    Args:
        search: its name.
        bad, clean: removed ones, and all.
        best: whether the best one was removed, None where none is the best.
    """
    text = (
        f"Of {search}'s trials the edit removed {bad[0]} of {bad[1]} bad and "
        f"{clean[0]} of {clean[1]} clean"
    )
    if best is not None:
        text += ", the best one among them" if best else "; the best one is still there"
    return f"{text}."


def shares_text(
    first: tuple[str, int, int, str], second: tuple[str, int, int, str]
) -> str:
    """Returns how many trials went bad before and after.

    Args:
        first, second: name, bad trials, all of them, and the rate's interval in words.
    """
    (name, bad, total, rate), (other, its_bad, its_total, its_rate) = first, second
    return (
        f"{bad} of {total} trials went bad in {name} ({rate}), "
        f"{its_bad} of {its_total} in {other} ({its_rate})."
    )


def interval_text(low: float, high: float) -> str:
    """Returns the interval of a rate, given as shares."""
    return f"95 % interval of the rate {100 * low:.0f} to {100 * high:.0f} %"


def clear_text(fewer: bool, p_value: float) -> str:
    """Returns that chance hardly makes the difference."""
    return f"That is {'fewer' if fewer else 'more'}: exact test, p = {p_value:.2g}."


def chance_text(p_value: float) -> str:
    """Returns that chance may make the difference."""
    return f"That may be chance: exact test, p = {p_value:.2g}; more trials would tell."


def unlike_text(shared: int, total: int) -> str:
    """Returns that two spaces share too few of their hyperparameters to be compared."""
    return (
        f"Their search spaces share {shared} of {total} hyperparameters: these "
        "look like different programs, not like one before and after an edit, and so "
        "neither what an edit removed nor their scores are compared."
    )


def score_text(before: float, after: float, higher_is_better: bool) -> str:
    """Returns how the best score went."""
    better = after > before if higher_is_better else after < before
    word = "better" if better else "equal" if before == after else "worse"
    return f"The best score went from {before:.5g} to {after:.5g} ({word})."
