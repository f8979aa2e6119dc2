# SPDX-License-Identifier: Apache-2.0
"""Measurements into tables: docs/overhead.md whole, and docs/cost.md's short one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.made import put
from benchmarks.rows import ROWS

PLAIN: Final = "plain"
AGAIN: Final = "plain against itself"
MODELS: Final = {
    "mlp": "(a) MLP 10-128-1, batch 32",
    "conv": "(b) 10 convolutions with batch normalisation, 32x32x3, batch 64",
    "transformer": "(c) Transformer encoder, 4 layers of 128, sequence 64, batch 32",
    "resnet": "(d) ResNet50, 64x64, batch 16",
    "lstm": "(e) two LSTMs of 128, sequence 50, batch 32",
}
SHORT: Final = {
    "mlp": "(a) MLP",
    "conv": "(b) 10 convolutions",
    "transformer": "(c) Transformer",
    "resnet": "(d) ResNet50",
    "lstm": "(e) LSTM",
}
START: Final = "<!-- cost: made by benchmarks/overhead.py -->"
END: Final = "<!-- /cost -->"
# Rounds from which on the first steps are told apart from later ones.
_QUARTERED: Final = 40

Part = dict[str, Any]


@dataclass
class Measured:
    """All parts of one model, with or without XLA.

    Attributes:
        ratios: of each row to plain, a round each.
        steps: seconds of a plain step, a round each.
        stretches: steps of a round, each number that was used.
        starts: what each fresh process measured.
        longest: of NaN Watch, the ratios of the part with the most rounds, in order.
        logged: bytes and the steps that they are of.
        failed: why a row could not run.
        machines: what it was measured on.
    """

    ratios: dict[str, list[float]] = field(default_factory=dict)
    longest: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    stretches: set[int] = field(default_factory=set)
    starts: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    logged: dict[str, list[int]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    machines: list[str] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Merges one part."""
        for row, ratios in part.get("ratios", {}).items():
            self.ratios.setdefault(row, []).extend(ratios)
            if row == "NaN Watch" and len(ratios) > len(self.longest):
                self.longest = ratios
        self.steps += part.get("step", [])
        if "stretch" in part:
            self.stretches.add(part["stretch"])
        for row, found in part.get("starts", {}).items():
            self.starts.setdefault(row, []).append(found)
        self.logged.update({r: n for r, n in part.get("logged", {}).items() if n})
        self.failed.update(part.get("failed", {}))
        for row in (*part.get("ratios", {}), *part.get("starts", {})):
            self.failed.pop(row, None)  # it runs by now
        machine = part["machine"]
        words = (
            f"{machine['cores']} cores ({machine['architecture']}), no GPU, "
            f"TensorFlow {machine['tensorflow']}, Keras {machine['keras']}, "
            f"Python {machine['python']}"
        )
        if words not in self.machines:
            self.machines.append(words)

    def rows(self) -> list[str]:
        """Returns the rows that were measured, in the order of `ROWS`."""
        found = {*self.ratios, *self.starts, *self.failed}
        return [r for r in (*ROWS, AGAIN) if r in found and r != PLAIN]

    def step(self, row: str) -> str:
        """Returns the median ratio, with the interval that holds it by the odds."""
        values = self.ratios.get(row)
        if not values:
            return ""
        low, high = interval(values)
        return f"{median(values):.3f} ({low:.3f} to {high:.3f})"

    def first(self, row: str) -> str:
        """Returns the ratio of the times to the first step."""
        if PLAIN not in self.starts or row not in self.starts:
            return ""
        times = [median([s["first"] for s in self.starts[r]]) for r in (row, PLAIN)]
        return f"{times[0] / times[1]:.2f}"

    def memory(self, row: str) -> str:
        """Returns the peak over that of plain, in MB, and what NaN Watch is allowed."""
        if PLAIN not in self.starts or row not in self.starts:
            return ""
        peaks = [median([s["peak"] for s in self.starts[r]]) for r in (row, PLAIN)]
        text = f"{(peaks[0] - peaks[1]) / 1e6:+.1f}"
        if row.startswith("NaN Watch"):
            allowed = median([s["allowed"] for s in self.starts[row]])
            text += f" (allowed {allowed / 1e6:.1f})"
        return text

    def spread(self) -> str:
        """Returns how far apart the peaks of plain alone lie, in MB."""
        peaks = [s["peak"] for s in self.starts.get(PLAIN, [])]
        if not peaks:
            return ""
        return (
            f"peak of plain {median(peaks) / 1e6:.0f} MB, "
            f"its starts within {(max(peaks) - min(peaks)) / 1e6:.1f} MB; "
        )

    def log(self, row: str) -> str:
        """Returns kilobytes logged, and over how many steps."""
        if row not in self.logged:
            return ""
        size, steps = self.logged[row]
        return f"{size / 1e3:,.0f} in {steps:,} steps"


def merged(parts: Iterable[Part]) -> dict[tuple[str, bool], Measured]:
    """Returns the parts by model and whether XLA compiled the step."""
    found: dict[tuple[str, bool], Measured] = {}
    for part in parts:
        found.setdefault((part["model"], part["jit"]), Measured()).add(part)
    order = list(MODELS)
    return dict(sorted(found.items(), key=lambda kv: (kv[0][1], order.index(kv[0][0]))))


def full(parts: Iterable[Part]) -> str:
    """Returns every number, a table for each model."""
    text = []
    for (model, jit), m in merged(parts).items():
        title = MODELS[model] + (", `jit_compile=True`" if jit else "")
        lines = [
            f"## {title}",
            "",
            "| | time a step | first step | memory, MB | log, kB |",
            "|---|---|---|---|---|",
        ]
        for row in m.rows():
            if row in m.failed:
                lines.append(f"| {row} | did not run: {_cell(m.failed[row])} | | | |")
                continue
            cells = [row, m.step(row), m.first(row), m.memory(row), m.log(row)]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", _about(m), ""]
        text.append("\n".join(lines))
    return "\n".join(text)


def _about(m: Measured) -> str:
    parts = []
    if m.steps:
        rounds = len(m.ratios.get(AGAIN, m.steps))
        parts.append(
            f"A plain step takes {1e3 * median(m.steps):.2f} ms; {rounds} rounds of "
            f"{' or '.join(map(str, sorted(m.stretches)))} steps, which are an epoch; "
        )
    if len(m.longest) >= _QUARTERED:
        n = len(m.longest) // 4
        quarters = [f"{median(m.longest[i * n : (i + 1) * n]):.3f}" for i in range(4)]
        parts.append(f"NaN Watch by quarters of the rounds {', '.join(quarters)}; ")
    firsts = [s["first"] for s in m.starts.get(PLAIN, [])]
    if firsts:
        parts.append(f"plain's first step {median(firsts):.2f} s, {len(firsts)} starts; ")
        parts.append(m.spread())
    return "".join(parts) + "; ".join(m.machines) + "."


def short(parts: Iterable[Part]) -> str:
    """Returns docs/cost.md's table: time a step, and NaN Watch's first step and memory."""
    found = merged(parts)
    keys = list(found)
    titles = [SHORT[model] + (", XLA" if jit else "") for model, jit in keys]
    lines = [
        f"| | {' | '.join(titles)} |",
        "|---" * (len(titles) + 1) + "|",
    ]
    rows = dict.fromkeys(row for m in found.values() for row in m.rows())
    for row in [*(r for r in rows if r != AGAIN), AGAIN]:
        cells = [
            "did not run" if row in m.failed else _short(m, row) for m in found.values()
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    for name, text in (("first step", Measured.first), ("memory, MB", Measured.memory)):
        cells = [text(m, "NaN Watch") for m in found.values()]
        lines.append(f"| NaN Watch: {name} | {' | '.join(cells)} |")
    steps = [f"{1e3 * median(m.steps):.1f} ms" if m.steps else "" for m in found.values()]
    lines.append(f"| a plain step | {' | '.join(steps)} |")
    return "\n".join(lines)


def _short(m: Measured, row: str) -> str:
    values = m.ratios.get(row)
    return f"{median(values):.2f}" if values else ""


def write(parts: Sequence[Part], root: Path) -> None:
    """Writes docs/overhead.md, and docs/cost.md's table between its markers."""
    parts = list(parts)
    text = (
        "# What watching costs\n\n"
        "Made by `benchmarks/overhead.py --merge --write`; do not edit. Time a step is "
        "the median ratio to plain `fit` over interleaved rounds, with the interval "
        "that holds the true median with 95 %. First step is the ratio of the times "
        "from the call of `fit` to the end of its first step, memory the difference of "
        "the peaks of resident memory, each the median over fresh processes. Allowed "
        "is a copy of all variables and of a batch, and the ring.\n\n"
    )
    docs = root / "docs" / "overhead.md"
    docs.write_text(text + full(parts), encoding="utf-8")
    put(root / "docs" / "cost.md", START, END, short(parts))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def median(values: Sequence[float]) -> float:
    """Returns the median; NaN of none."""
    ordered = sorted(values)
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2 if n else math.nan


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the order statistics between which the median lies with 95 %.

    How many of n values lie below the median is binomial with 1/2: about
    n/2 plus or minus 0.98 sqrt(n).
    """
    ordered = sorted(values)
    n = len(ordered)
    reach = 0.98 * math.sqrt(n)
    low = max(0, math.floor((n - 1) / 2 - reach))
    return ordered[low], ordered[n - 1 - low]
