# SPDX-License-Identifier: Apache-2.0
"""Sentences on an edit between two searches: changes, removed trials, and the effect; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import Condition

SAME_SPACE: Final = (
    "The search space is the same in both: what differs lies in the model, the data or "
    "chance."
)
OTHER_OBJECTIVE: Final = "Their objectives differ, and so their scores say nothing."


def declared_text(name: str, code: str | None, parents: Sequence[Condition]) -> str:
    """Returns a declaration, None without one, with its parents' values that it is for."""
    code = code or f"{name} without a search space"
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
    """Returns how many of a search's bad and clean trials (each: gone, all) an edit removed."""
    text = (
        f"Of {search}'s trials the edit removed {bad[0]} of {bad[1]} bad and "
        f"{clean[0]} of {clean[1]} clean"
    )
    if best is not None:
        text += ", the best one among them" if best else "; the best one is still there"
    return f"{text}."


def rates_text(
    first: tuple[str, int, int, float, float],
    second: tuple[str, int, int, float, float],
    p_value: float | None,
    clear: bool,
) -> str:
    """Returns how many trials went bad before and after, and whether chance made it.

    Args:
        first, second: name, bad trials, all of them, and the interval of their share.
        p_value: of the difference; None where a search has no trial.
        clear: whether chance hardly makes it.
    """
    (_, bad, total, *_), (_, its_bad, its_total, *_) = first, second
    (name, rate), (other, its_rate) = (
        (n, f"95 % interval of the rate {100 * low:.0f} to {100 * high:.0f} %")
        for n, _, _, low, high in (first, second)
    )
    text = (
        f"{bad} of {total} trials went bad in {name} ({rate}), "
        f"{its_bad} of {its_total} in {other} ({its_rate})."
    )
    if p_value is None:
        return f"{text} One of the searches has no trial yet whose fate is known."
    if clear:
        word = "fewer" if its_bad * total < bad * its_total else "more"
        return f"{text} That is {word}: exact test, p = {p_value:.2g}."
    return f"{text} That may be chance: exact test, p = {p_value:.2g}; more trials would tell."


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
