# SPDX-License-Identifier: Apache-2.0
"""A comparison in a terminal. Names come from event files: each goes through `clean`."""

from __future__ import annotations

from typing import IO, Final

from tb_nanwatch.reading.contract.comparisons import RunComparison, SearchComparison
from tb_nanwatch.reading.report.tables import status_text
from tb_nanwatch.wording.card import wrapped
from tb_nanwatch.wording.comparison_text import (
    ABOUT_CAUSE,
    BEFORE_UPDATES,
)
from tb_nanwatch.wording.text import clean

_TOPICS: Final = {
    "hparam": "Hyperparameters",
    "optimizer": "Optimizer",
    "loss": "Loss",
    "model": "Model",
    "data": "Data",
    "precision": "Precision",
    "setup": "Set-up",
    "initial": BEFORE_UPDATES,
}
_MAX_TEXT: Final = 2000


def render(found: RunComparison | SearchComparison, out: IO[str]) -> None:
    """Prints a comparison."""
    if isinstance(found, RunComparison):
        _runs(found, out)
    else:
        _searches(found, out)


def _runs(found: RunComparison, out: IO[str]) -> None:
    _say(found.verdict, out)
    bad = next((r for r in found.runs if r.causes), None)
    if bad is not None:
        cause = bad.causes[0]
        for sentence in cause.evidence[1:4]:  # the first says where
            _say(sentence, out, "  ")
        _say(f"Fix: {cause.fix}", out, "  ")
    for topic, title in _TOPICS.items():
        those = [d for d in found.differences if d.topic == topic]
        if those:
            print(f"{title}", file=out)
        for d in those:
            _say(d.text, out, "* " if d.likely else "  ")
    if any(d.likely for d in found.differences):
        print(ABOUT_CAUSE, file=out)
    if found.parting:
        print("Where they first differ", file=out)
        _say(found.parting.text, out, "  ")
    if found.alike:
        alike = ", ".join(_TOPICS[t].lower() for t in found.alike)
        _say(f"Alike: {alike}.", out)
    for note in found.notes:
        _say(f"Note: {note}", out)
    first, second = (
        f"{clean(name, 80)} ({status_text(run)})"
        for name, run in zip(found.names, found.runs, strict=True)
    )
    _say(f"Each line reads: {first} against {second}.", out)


def _searches(found: SearchComparison, out: IO[str]) -> None:
    _say(found.verdict, out)
    if found.changes:
        print("Edited", file=out)
    for change in found.changes:
        _say(change.text, out, "  ")


def _say(text: str, out: IO[str], begin: str = "") -> None:
    """Prints a text in lines that fit."""
    print(*wrapped(clean(text, _MAX_TEXT), begin, "    "), sep="\n", file=out)
