# SPDX-License-Identifier: Apache-2.0
"""How often the analysis finds a rule that exists, or one that does not: `make corpus`.

Made-up searches as they come out of a random search over seven hyperparameters, whose
rule is known: tests/reading/searches.py draws them, tests/reading/test_analysis.py has
the rules. Prints Markdown, or writes it into docs/diagnosis.md. Beside what is found
stands what can be: 24 trials need not hold one that tells a rule from another.

The analysis was made with other seeds; `FINAL_SEED` was drawn after its last change.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.made import put
from tb_nanwatch.reading.search.analysis import analyse
from tb_nanwatch.reading.search.axes import conditions
from tb_nanwatch.reading.search.statistics import wilson
from tb_nanwatch.reading.search.trials import ComparedTrial, Space
from tests.reading.searches import RULES, search, values_of, without_rule

FINAL_SEED: Final = 66144
DOCS: Final = Path(__file__).resolve().parents[1] / "docs" / "diagnosis.md"
START: Final = "<!-- searches: made by `make corpus` -->"
END: Final = "<!-- /searches -->"
# Searches of each size; fewer of the large ones, which take a second each.
SIZES: Final = {10: 200, 24: 200, 100: 60, 1000: 5}
# Of searches without a rule, whose rate is the smaller: one in twenty is promised.
SIZES_WITHOUT: Final = {10: 400, 24: 400, 100: 200, 1000: 10}
BAD_RATES: Final = (0.1, 0.3, 0.5, 0.8)
# So many bad and so many clean trials prove anything at all.
MIN_BAD: Final = 5


def main() -> None:
    """Runs the searches and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=FINAL_SEED)
    parser.add_argument("--write", action="store_true", help="into docs/diagnosis.md")
    arguments = parser.parse_args()
    made = "\n".join([*power(arguments.seed), "", *false_findings(arguments.seed)])
    print(made)
    if arguments.write:
        put(DOCS, START, END, f"Seed {arguments.seed}.\n\n{made}")


def power(seed: int) -> list[str]:
    """Returns the table of how often a rule is found, by rule and size."""
    lines = [
        "| rule | " + " | ".join(f"{n:,} trials" for n in SIZES) + " |",
        "|---" * (len(SIZES) + 1) + "|",
    ]
    for name, (rule, names) in RULES.items():
        cells = []
        for n, searches in SIZES.items():
            asked = found = part = can = 0
            for i in range(searches):
                trials = search(n, rule, seed + i)
                bad = sum(t.bad for t in trials)
                if bad < MIN_BAD or n - bad < MIN_BAD:
                    continue
                asked += 1
                findings = analyse("s", trials).findings
                told = _names_in(findings[0].condition) if findings else set()
                found += told == names
                part += bool(told & names) and told != names
                can += decidable(trials, names)
            print(name, n, found, part, can, asked, file=sys.stderr, flush=True)
            more = [f"in part {part}"] if part else []
            more += [f"decidable {can}"] if can < asked else []
            cell = f"{found} of {asked}"
            cells.append(cell + (f" ({', '.join(more)})" if more else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def decidable(trials: Sequence[ComparedTrial], names: set[str]) -> bool:
    """Returns whether the trials allow no other rule than one on `names`.

    As an oracle would say that knows what the analysis does not: that there are no
    exceptions. Of all conditions, or else of all conjunctions of two, it takes those
    that hold in every bad trial and in no other.
    """
    space = Space.of(trials, "min")
    every = [
        c for i, axis in enumerate(space.axes) for c in conditions(i, axis, len(trials))
    ]
    holds = np.array([space.axes[c.axis].holds(c) for c in every])
    covering = np.flatnonzero(holds[:, space.bad].all(axis=1))
    clean = holds[covering][:, ~space.bad].astype(np.float32)
    of = [space.axes[every[i].axis].name for i in covering]
    alone = {of[i] for i in np.flatnonzero(~clean.any(axis=1))}
    if alone:
        return len(alone) == 1 and alone == names
    pairs = np.argwhere(clean @ clean.T == 0)
    told = {frozenset((of[i], of[j])) for i, j in pairs if of[i] != of[j]}
    return told == {frozenset(names)}


def false_findings(seed: int) -> list[str]:
    """Returns the table of findings where there is no rule.

    Once as such, and once with all bad trials said to have died of their learning rate,
    which the analysis looks at first.
    """
    ways: dict[str, Callable[[list[ComparedTrial]], list[ComparedTrial]]] = {
        "no rule": lambda trials: trials,
        "no rule, and the runs point at one setting": _pointing,
    }
    lines = [
        "| | " + " | ".join(f"{n:,} trials" for n in SIZES_WITHOUT) + " | together |",
        "|---" * (len(SIZES_WITHOUT) + 2) + "|",
    ]
    for name, change in ways.items():
        cells = []
        false = total = 0
        for n, searches in SIZES_WITHOUT.items():
            some = 0
            for i in range(searches):
                rate = BAD_RATES[i % len(BAD_RATES)]
                trials = change(without_rule(n, rate, seed + i))
                some += bool(analyse("s", trials).findings)
            print(name, n, some, searches, file=sys.stderr, flush=True)
            cells.append(f"{some} of {searches}")
            false, total = false + some, total + searches
        low, high = wilson(false, total)
        together = f"{false / total:.1%} ({low:.1%} to {high:.1%})"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {together} |")
    return lines


def _pointing(trials: Sequence[ComparedTrial]) -> list[ComparedTrial]:
    return [
        dataclasses.replace(
            t,
            cause="learning_rate",
            about=values_of(list(t.hparams))["learning_rate"],
        )
        if t.bad
        else t
        for t in trials
    ]


def _names_in(condition: str) -> set[str]:
    return {part.split()[0] for part in condition.split(" and ")}


if __name__ == "__main__":
    main()
