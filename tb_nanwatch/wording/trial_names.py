"""What a trial or a run is called, the same wherever people read; pure.

KerasTuner prints "Trial #3" for the trial whose id is "2": that is the number people have
seen, and no other is shown beside it.
"""

from __future__ import annotations

from typing import Protocol


class Named(Protocol):
    """A run of the report."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def trial_id(self) -> str | None:
        """Its trial's, None for none."""

    @property
    def number(self) -> int | None:
        """The n of "Trial #n"."""


def number_of(trial_id: object) -> int | None:
    """Returns the n of KerasTuner's "Trial #n", None where the id is no number."""
    text = str(trial_id)
    return int(text) + 1 if text.isdecimal() and text.isascii() else None


def trial_name(trial_id: object, number: int | None) -> str:
    """Returns a trial as KerasTuner prints it, "Trial #3", or by its id."""
    return f"Trial #{number}" if number is not None else f"Trial {trial_id}"


def run_name(run: Named) -> str:
    """Returns the same of a run of the report; elsewhere the run's own name."""
    if run.trial_id is None:
        return run.name
    return trial_name(run.trial_id, run.number)
