"""Runs that died of the same cause, told once: whose numbers, and what came next; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tb_nanwatch.text import clean

# A runner-up is told from this confidence on: of all causes that were named on the
# programs of docs/diagnosis.md, which sorts them by tenths, none below it was right.
MIN_RUNNER_UP: Final = 0.1
_LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class SameCause:
    """A cause, and all runs of which it is the likeliest; every text is one safe line.

    Attributes:
        name: the cause as users read it, "learning rate".
        confidence: "0.97", or "0.71 to 0.97" over the runs; empty where it is 0.
        fix: what to change.
        names: of the trials, or of runs without one, each once.
        evidence: sentences of the run that is surest of it.
        whose: "In trial 02:" where `evidence` is of one run among several; else empty.
        next: "Next likely: ..." with the causes that came second; empty where none of
            them reaches `MIN_RUNNER_UP`.
    """

    name: str
    confidence: str
    fix: str
    names: list[str]
    evidence: list[str]
    whose: str
    next: str


def same_causes(runs: Sequence[dict[str, Any]]) -> list[SameCause]:
    """Returns the likeliest causes of `runs`, each with its fix once.

    Args:
        runs: entries of an overview.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        for cause in run["causes"][:1]:
            found.setdefault((cause["id"], cause["fix"]), []).append(run)
    return [_told(runs) for runs in found.values()]


def _told(runs: Sequence[dict[str, Any]]) -> SameCause:
    surest = max(runs, key=lambda r: float(r["causes"][0]["confidence"]))
    cause = surest["causes"][0]
    alike = all(r["causes"][0]["evidence"] == cause["evidence"] for r in runs)
    kind = "run" if surest["trial_id"] is None else "trial"
    sure = [float(r["causes"][0]["confidence"]) for r in runs]
    return SameCause(
        _cause_name(cause),
        _range(sure) if max(sure) else "",
        clean(cause["fix"], 2000),
        list(dict.fromkeys(map(_name, runs))),
        [clean(sentence, 1000) for sentence in cause["evidence"]],
        "" if alike else f"In {kind} {_name(surest)}:",
        _next(runs),
    )


def _next(runs: Sequence[dict[str, Any]]) -> str:
    """Returns "Next likely: unscaled targets (0.12 to 0.26) in 02, 14."."""
    seconds: dict[str, list[tuple[float, str]]] = {}
    for run in runs:
        others = [c for c in run["causes"][1:] if c["confidence"] >= MIN_RUNNER_UP]
        if others:
            second = max(others, key=lambda c: float(c["confidence"]))
            sure = float(second["confidence"])
            seconds.setdefault(_cause_name(second), []).append((sure, _name(run)))
    parts = []
    for cause, those in sorted(seconds.items(), key=lambda item: -max(item[1])[0]):
        text = f"{cause} ({_range([sure for sure, _ in those])})"
        if len(those) < len(runs):
            text += f" in {', '.join(dict.fromkeys(name for _, name in those))}"
        parts.append(text)
    return f"Next likely: {'; '.join(parts)}." if parts else ""


def _range(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
    return high if low == high else f"{low} to {high}"


def _cause_name(cause: dict[str, Any]) -> str:
    return clean(str(cause["id"]).replace("_", " "), 40)


def _name(run: dict[str, Any]) -> str:
    return clean(
        run["run"] if run["trial_id"] is None else run["trial_id"], _LONGEST_NAME
    )
