# SPDX-License-Identifier: Apache-2.0
"""Groups runs with the same cause, so that a report states it once; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.diagnosis.answer import SURE
from tb_nanwatch.reading.contract.runs import NamedCause, RunSummary
from tb_nanwatch.wording.report_text import sure_in_text
from tb_nanwatch.wording.text import clean

# A runner-up is told from this confidence on: of all causes that were named on the
# programs of docs/diagnosis.md, which sorts them by tenths, none below it was right.
MIN_RUNNER_UP: Final = 0.1
_LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class SameCause:
    """A cause, and all runs of which it is the likeliest; every text is one safe line.

    Attributes:
        name: the cause as users read it, "learning rate too high".
        sure: "tested", or "tested in 2 of 5, else likely" over the runs; empty where the
            cause is unknown.
        fix: what to change.
        names: of the trials, or of runs without one, each once.
        evidence: sentences of the run that is surest of it.
        whose: "In Trial #3:" where `evidence` is of one run among several; else empty.
        next: "Next likely: ..." with the causes that came second; empty where none of
            them reaches `MIN_RUNNER_UP`.
    """

    name: str
    sure: str
    fix: str
    names: list[str]
    evidence: list[str]
    whose: str
    next: str


def same_causes(runs: Sequence[RunSummary]) -> list[SameCause]:
    """Returns the likeliest causes of `runs`, each with its fix once.

    Args:
        runs: of one search, or of none.
    """
    found: dict[tuple[str, str], list[RunSummary]] = {}
    for run in runs:
        for cause in run.causes[:1]:
            # The numbers of a fix are of one run each.
            fix = re.sub(r"\d[\d.e+-]*", "#", cause.fix)
            found.setdefault((cause.id, fix), []).append(run)
    return [_told(runs) for runs in found.values()]


def _told(runs: Sequence[RunSummary]) -> SameCause:
    surest = max(runs, key=_sureness)
    cause = surest.causes[0]
    alike = all(r.causes[0].evidence == cause.evidence for r in runs)
    return SameCause(
        _cause_name(cause),
        "" if cause.id == "unknown" else _words([r.causes[0].sure for r in runs]),
        clean(cause.fix, 2000),
        list(dict.fromkeys(map(_name, runs))),
        [clean(sentence, 1000) for sentence in cause.evidence],
        "" if alike else f"In {_name(surest)}:",
        _next(runs),
    )


def _next(runs: Sequence[RunSummary]) -> str:
    """Returns "Next likely: unscaled targets in 02, 14."."""
    seconds: dict[str, list[tuple[float, str]]] = {}
    for run in runs:
        others = [c for c in run.causes[1:] if c.confidence >= MIN_RUNNER_UP]
        if others:
            second = max(others, key=lambda c: c.confidence)
            sure = second.confidence
            seconds.setdefault(_cause_name(second), []).append((sure, _name(run)))
    parts = []
    for cause, those in sorted(seconds.items(), key=lambda item: -max(item[1])[0]):
        text = cause
        if len(those) < len(runs):
            text += f" in {', '.join(dict.fromkeys(name for _, name in those))}"
        parts.append(text)
    return f"Next likely: {'; '.join(parts)}." if parts else ""


def _sureness(run: RunSummary) -> tuple[bool, float]:
    cause = run.causes[0]
    return cause.sure == "tested", cause.confidence


def _words(sure: Sequence[str]) -> str:
    surest = max(sure, key=SURE.index)
    others = [word for word in sure if word != surest]
    if not others:
        return surest
    count = len(sure) - len(others)
    return sure_in_text(surest, count, len(sure), max(others, key=SURE.index))


def _cause_name(cause: NamedCause) -> str:
    return clean(cause.label, _LONGEST_NAME)


def _name(run: RunSummary) -> str:
    return clean(run.name, _LONGEST_NAME)
