# SPDX-License-Identifier: Apache-2.0
"""The names of trials and runs, the same everywhere; pure.

KerasTuner prints "Trial #3" for the trial whose id is "2": that is the number people have
seen, and no other is shown beside it.
"""

from __future__ import annotations

from tb_nanwatch.record.schema import Status
from tb_nanwatch.wording.statuses import STATUS_TEXT


def number_of(trial_id: object) -> int | None:
    """Returns the n of KerasTuner's "Trial #n", None where the id is no number."""
    text = str(trial_id)
    return int(text) + 1 if text.isdecimal() and text.isascii() else None


def trial_name(trial_id: object, number: int | None) -> str:
    """Returns a trial as KerasTuner prints it, "Trial #3", or by its id."""
    return f"Trial #{number}" if number is not None else f"Trial {trial_id}"


def spoken_name(name: str) -> str:
    """Returns a run's name for sentences: "run 3" where "3" would read as a count."""
    return name if any(c.isalpha() for c in name) else f"run {name}"


def lineage_text(bracket: int | None, round_: int | None, parent: str | None) -> str:
    """Returns "bracket 1 round 0, continues Trial #4" of a trial of Hyperband.

    Args:
        bracket, round_: where it stands, None where that is not known.
        parent: the id of the trial whose weights it goes on with, None without one.
    """
    parts = []
    if bracket is not None and round_ is not None:
        parts.append(f"bracket {bracket} round {round_}")
    if parent is not None:
        parts.append(f"continues {trial_name(parent, number_of(parent))}")
    return ", ".join(parts)


def inherited_text(status: Status | None, parent: str | None) -> str:
    """Returns a sentence on the bad weights that a run began with, "" without any.

    Args:
        status: of the training that they come from, where it had gone bad.
        parent: the id of that trial, None for an earlier fit of the same model.
    """
    if status is None:
        return ""
    whose = "its earlier fit" if parent is None else trial_name(parent, number_of(parent))
    return f"its weights come from {whose}, which had gone bad ({STATUS_TEXT[status]})."
