# SPDX-License-Identifier: Apache-2.0
"""The printed report of a stability search."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.record.schema import Boundary
from tb_nanwatch.stability.frontier import KnownFrontier
from tb_nanwatch.stability.space import StableSpace
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.stability_text import boundary_text, where_text

_MAX_UNSURE: Final = 6


def report(
    frontier: KnownFrontier,
    stable: StableSpace,
    steps: int,
    spent_steps: int,
    seconds: float,
    begun: int,
    max_trials: int,
) -> str:
    """Returns the report on a stability search.

    Args:
        frontier: as it is known.
        stable: the space that lives.
        steps: that a trial trains at most.
        spent_steps, seconds: of all trials.
        begun: trials, those that raised an exception included.
        max_trials: that there may be.
    """
    lines = [
        f"Stability search: {frontier.bad} of {counted(frontier.trials, 'short trial')} went bad "
        f"({counted(spent_steps, 'step')}, {seconds:.0f} s)."
    ]
    lines += [f"  {boundary_text(b)}" for b in frontier.boundaries]
    if begun > frontier.trials:
        lines.append(
            f"Of {begun} trials {begun - frontier.trials} raised an exception, or have not "
            "ended: they tell nothing."
        )
    lines += _unsure(frontier, begun, max_trials)
    lines.append(
        f"This holds for {counted(steps, 'step')} of training: what goes bad later was not seen."
    )
    lines += _space(stable, frontier)
    return "\n".join(lines)


def _unsure(frontier: KnownFrontier, begun: int, max_trials: int) -> list[str]:
    unsure = frontier.unsure
    if not unsure:
        return []
    places = [_place(b) for b in unsure[:_MAX_UNSURE]]
    more = f" and {len(unsure) - _MAX_UNSURE} more" if len(unsure) > _MAX_UNSURE else ""
    spent = begun >= max_trials
    why = f"the {max_trials} trials are spent" if spent else "the search has not ended"
    return [f"Unsure ({why}): {'; '.join(places)}{more}."]


def _place(boundary: Boundary) -> str:
    where = where_text(boundary)
    name = boundary.name or "all values"
    return f"{name} at {where}" if where else name


def _space(stable: StableSpace, frontier: KnownFrontier) -> list[str]:
    if stable.form == "nothing":
        return [nothing_text(frontier)]
    if stable.form == "whole":
        return ["Nothing died: the whole space is left as it is."]
    lines = [f"The box that lives keeps {stable.kept:.0%} of the searched space."]
    if stable.form != "box":
        how = {
            "scopes": "with bounds for each level",
            "dependent": "with a bound that depends on another value",
        }[stable.form]
        lines.append(f"As code, {how}, it keeps {stable.code_kept:.0%}.")
    return [*lines, "Code for the model's build function:", "", stable.code]


def nothing_text(frontier: KnownFrontier) -> str:
    """Returns the reason why no stable space was found."""
    if frontier.bad == frontier.trials:
        return "No part of the space was found to live: look at model, loss and data."
    return (
        f"After {frontier.trials} trials no part of the space is sure enough to live: give "
        "the search more trials (max_trials), or a smaller space."
    )
