# SPDX-License-Identifier: Apache-2.0
"""The words for a boundary, the same in a program's output and in the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import Boundary, JSONScalar
from tb_nanwatch.wording.counts import counted

NO_FRONTIER: Final = "No frontier has been found yet."


def value_text(value: JSONScalar) -> str:
    """Returns a hyperparameter's value with as few digits as its resolution asks for."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def where_text(boundary: Boundary) -> str:
    """Returns "optimizer=sgd, scale=100"; "" for a boundary that holds everywhere."""
    return ", ".join(f"{n}={value_text(v)}" for n, v in boundary.where.items())


def boundary_text(boundary: Boundary) -> str:
    """Returns a boundary in one line: living side, dead side, how sure."""
    where = where_text(boundary)
    named = boundary.name or "everything"
    begin = f"{where}: {named}" if where else named
    if boundary.all_living or boundary.all_dead:
        what = "lives" if boundary.all_living else "dies"
        whole = " over its whole range" if boundary.name else ""
        return f"{begin} {what}{whole}{'' if boundary.sure else ' (unsure)'}"
    to, of = ("up to", "from") if boundary.dead_above else ("down to", "at and below")
    parts = []
    if boundary.living is not None:
        parts.append(f"lives {to} {value_text(boundary.living)}")
    if boundary.dead is not None:
        parts.append(f"dies {of} {value_text(boundary.dead)}")
    if not parts:
        parts.append("is not known")
    half = f"half at about {value_text(boundary.middle)}"
    return f"{begin} {', '.join(parts)} ({half}{'' if boundary.sure else '; unsure'})"


def search_in_text(code: str) -> str:
    """Returns the advice to search in the stable space, with its code."""
    return f"Search in the space that lives: {code}"


def up_to_text(steps: int) -> str:
    """Returns how long the trials of a stability search were at most."""
    return f"In trials of up to {counted(steps, 'step')}."


def afterwards_text(
    bad: int,
    total: int,
    onsets: Sequence[int],
    steps: int,
    seconds: tuple[float, float],
) -> str:
    """Returns how a later search fared in the space that lives, in sentences.

    Args:
        bad, total: its trials there that went bad, and all.
        onsets: the step at which each bad one went bad, where that is known.
        steps: that the stability search tried.
        seconds: that the stability search and the later one took; 0 where not known.
    """
    text = f"{bad} of {counted(total, 'trial')} went bad inside the stable space"
    late = sum(step >= steps for step in onsets)
    if bad and onsets:
        all_late = {1: "", 2: "both "}.get(bad, "all ")
        which = all_late if late == len(onsets) else f"{late} of them "
        text += (
            f", {which}after step {steps}"
            if late
            else f", within the {counted(steps, 'step')} that {'was' if steps == 1 else 'were'} tried"
        )
    searched, later = seconds
    if searched > 0 and later > 0:
        text += (
            f". The stability search took {searched:.0f} s, "
            f"{searched / (searched + later):.0%} of both searches' time"
        )
    return f"{text}."
