"""What the plugin wrote of the same tests in several processes, compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# What is compared of every fit. Errors by their types: messages name tensors and places.
PARTS: Final = ("weights", "optimizer", "history", "random")
_ENDED: Final = ("finished", "stopped", "failed")


@dataclass
class Seen:
    """What one process saw of one test.

    Attributes:
        outcomes: of each phase, and of each subtest.
        words: what pytest had to say.
        fits: by their number.
        seconds: that it took.
    """

    outcomes: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    fits: dict[int, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Process:
    """What one process, and those that went on after a crash, wrote.

    Attributes:
        tests: by their ids.
        left_out: modules, and why they could not be imported.
        collected: tests of the modules.
        without_fit: of these, tests that were not run, since their text names no fit.
    """

    tests: dict[str, Seen] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    collected: int = 0
    without_fit: int = 0

    def __or__(self, other: Process) -> Process:
        return Process(
            self.tests | other.tests,
            self.left_out | other.left_out,
            self.collected + other.collected,
            self.without_fit + other.without_fit,
        )


def load(out: Path) -> Process:
    """Returns what a file of the plugin holds."""
    process = Process()
    for line in out.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] == "done":
            continue
        if record["kind"] == "collected":
            process.collected = record["tests"]
            process.without_fit = record["without_fit"]
            continue
        if record["kind"] == "module":
            process.left_out[record["id"]] = record["left_out"]
            continue
        test = process.tests.setdefault(record["id"], Seen())
        if record["kind"] == "fit":
            test.fits[record["fit"]] = record
        elif record["kind"] == "outcome":
            test.outcomes.append(f"{record['when']} {record['outcome']}")
            test.words.append(record["words"])
            test.seconds += record.get("seconds", 0.0)
    return process


def differences(one: Seen, other: Seen) -> dict[str, str]:
    """Returns what differs, by "outcome" or by number and part of a fit, with both sides."""
    found = {}
    if one.outcomes != other.outcomes:
        found["outcome"] = f"{_said(one)} | {_said(other)}"
    for number in sorted(one.fits.keys() | other.fits.keys()):
        a, b = one.fits.get(number), other.fits.get(number)
        if a is None or b is None:
            found[f"fit {number} ran"] = f"{a is not None} | {b is not None}"
            continue
        if _type(a["error"]) != _type(b["error"]):
            found[f"fit {number} error"] = f"{a['error']} | {b['error']}"
        for part in PARTS:
            unequal = _unequal(a["state"][part], b["state"][part])
            if unequal:
                found[f"fit {number} {part}"] = unequal
    return found


def parts(found: Iterable[str]) -> list[str]:
    """Returns the parts that differ, without the numbers of the fits."""
    return sorted({re.sub(r"^fit \d+ ", "", name) for name in found})


def is_watched(fit: dict[str, Any]) -> bool:
    """Returns whether the log proves that every step of a fit was watched."""
    return not why_not(fit)


def why_not(fit: dict[str, Any]) -> str:
    """Returns why a fit proves nothing; empty where it was really watched."""
    watched = fit["watched"]
    if fit["steps"] is None:
        return "fit raised before training began"
    if watched["warnings"]:
        return "; ".join(dict.fromkeys(_general(w) for w in watched["warnings"]))
    if "unreadable" in watched:
        return f"log unreadable: {watched['unreadable']}"
    if "state" not in watched:
        return "no log"
    if watched["state"] not in _ENDED:
        return f"the log ends with the state {watched['state']}"
    if not watched["steps"]:
        return "no step ran"
    if not watched["probes"]:
        return "no tensor was watched"
    if watched["steps"] < fit["steps"]:
        return "fewer steps watched than run"
    return ""


def _said(test: Seen) -> str:
    return "; ".join(
        f"{outcome}: {words}" if words else outcome
        for outcome, words in zip(test.outcomes, test.words, strict=True)
    )


def _type(error: str | None) -> str | None:
    return error and error.partition(":")[0]


def _unequal(a: dict[str, Any], b: dict[str, Any]) -> str:
    names = [name for name in [*a, *(b.keys() - a.keys())] if a.get(name) != b.get(name)]
    if not names:
        return ""
    first = names[0]
    return f"{len(names)} of {len(a)}, first {first}: {a.get(first)} | {b.get(first)}"


def _general(warning: str) -> str:
    """Returns a warning without the class that it names, so that it can be counted."""
    return re.sub(r"received [\w.<>]+", "received ...", warning)[:160]
