# SPDX-License-Identifier: Apache-2.0
"""How often the cause is named right: `python -m benchmarks.diagnosis`, or `make corpus`.

Runs the corpus of programs with known faults and writes docs/diagnosis.md: precision
and recall of each cause, the confusion matrix, and how far confidences can be trusted.
Rules and thresholds are tried on other seeds, with `--keep FILE` (the facts of all
programs) and `--again FILE` (the same facts diagnosed anew, without training). They
were committed before the first of `FINAL_SEEDS` was drawn; since then only their words
have changed, and two rules were added whose faults no program has. Each seed was run once, and all that were run are here.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.made import put
from tb_nanwatch.diagnosis.ranking import Facts, diagnose
from tb_nanwatch.reading.search.statistics import wilson
from tests.corpus.programs import CAUSES, CLEAN, CONTAINED, programs
from tests.corpus.run import facts_from, name_of

FINAL_SEEDS: Final = (11527, 84298, 47950)
DOCS: Final = Path(__file__).resolve().parents[1] / "docs" / "diagnosis.md"
START: Final = "<!-- corpus: made by `make corpus` -->"
END: Final = "<!-- /corpus -->"
# Bins of the reliability table.
BINS: Final = ((0.0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 0.9), (0.9, 1.01))
HARMLESS: Final = (CLEAN, CONTAINED)

Outcome = tuple[str, Facts]
Answer = tuple[float, bool]


def main() -> None:
    """Runs the corpus, or reads what an earlier run kept, and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=FINAL_SEEDS)
    parser.add_argument("--per-cause", type=int, default=12)
    parser.add_argument("--keep", metavar="FILE", help="write the facts there")
    parser.add_argument(
        "--again",
        metavar="FILE",
        nargs="+",
        help="diagnose the facts kept there, a seed each",
    )
    parser.add_argument("--write", action="store_true", help="into docs/diagnosis.md")
    arguments = parser.parse_args()
    by_seed: list[list[Outcome]] = []
    if arguments.again:
        by_seed = [list(kept(path)) for path in arguments.again]
    else:
        for seed in arguments.seed:
            by_seed.append(list(run(seed, arguments.per_cause, arguments.keep)))
    outcomes = [outcome for of_seed in by_seed for outcome in of_seed]
    each = "; ".join(
        f"{seed}: {right_of(of_seed)}"
        for seed, of_seed in zip(arguments.seed, by_seed, strict=True)
    )
    text = report(*judge(outcomes))
    print(text)
    if arguments.write:
        head = (
            f"{len(outcomes)} programs, {arguments.per_cause} of each kind for each "
            f"seed. Right of those that went bad, by seed: {each}.\n\n"
        )
        put(DOCS, START, END, head + text)


def run(seed: int, per_cause: int, keep: str | None = None) -> Iterator[Outcome]:
    """Yields the fault of each program, and the facts read from its log.

    Args:
        seed, per_cause: of the corpus.
        keep: a file to which each outcome is appended.
    """
    for program in programs(seed, per_cause):
        with contextlib.redirect_stdout(io.StringIO()):
            facts = facts_from(program)
        named = name_of(facts, diagnose(facts))
        print(f"{program.cause} -> {named} ({facts.status})", file=sys.stderr, flush=True)
        if keep:
            with open(keep, "ab") as f:
                pickle.dump((program.cause, facts), f)
        yield program.cause, facts


def kept(path: str) -> Iterator[Outcome]:
    """Yields the outcomes that an earlier run kept."""
    with open(path, "rb") as f, contextlib.suppress(EOFError):
        while True:
            yield pickle.load(f)


def right_of(outcomes: Sequence[Outcome]) -> str:
    """Returns "151 of 151", the programs that went bad and were named right."""
    named = [(fault, name_of(facts, diagnose(facts))) for fault, facts in outcomes]
    bad = [
        n == fault for fault, n in named if fault not in HARMLESS and n not in HARMLESS
    ]
    return f"{sum(bad)} of {len(bad)}"


def judge(
    outcomes: Sequence[Outcome],
) -> tuple[Counter[tuple[str, str]], list[Answer]]:
    """Returns how often each fault was given each name, and how sure each answer was.

    Every cause that is shown counts as an answer, the runners-up too.
    """
    matrix: Counter[tuple[str, str]] = Counter()
    answers: list[Answer] = []
    for fault, facts in outcomes:
        causes = diagnose(facts)
        named = name_of(facts, causes)
        matrix[fault, named] += 1
        answers += [(c.confidence, c.id == fault) for c in causes if c.id != "unknown"]
    return matrix, answers


def report(matrix: Counter[tuple[str, str]], answers: list[Answer]) -> str:
    """Returns the tables.

    Args:
        matrix: how often each fault was given each name.
        answers: confidence of each cause shown, and whether it was right.
    """
    lines = [
        "| fault | went bad | named right | recall | precision |",
        "|---|---|---|---|---|",
    ]
    all_bad = all_right = false = harmless = 0
    for fault in CAUSES:
        named = {n: count for (f, n), count in matrix.items() if f == fault}
        total = sum(named.values())
        bad = total - sum(named.get(n, 0) for n in HARMLESS)
        if fault in HARMLESS:
            harmless, false = harmless + total, false + bad
            lines.append(f"| {fault} ({total} programs) | {bad} | - | - | - |")
            continue
        right = named.get(fault, 0)
        so_named = sum(count for (_, n), count in matrix.items() if n == fault)
        all_bad, all_right = all_bad + bad, all_right + right
        lines.append(
            f"| {fault} | {bad} | {right} | {_share(right, bad)} | "
            f"{_share(right, so_named)} |"
        )
    lines += [
        "",
        f"Top cause right in {all_right} of {all_bad} programs that went bad "
        f"({_share(all_right, all_bad)}); a fault without consequence is rightly given no "
        f"cause. A cause was named for {false} of {harmless} clean and contained ones.",
        "",
    ]
    columns = [c for c in (*CAUSES, "unknown") if any(n == c for _, n in matrix)]
    lines += [
        "Rows are faults, columns what was named.",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for fault in CAUSES:
        cells = (str(matrix[fault, name] or "") for name in columns)
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Every cause that is shown, the runners-up too:",
        "",
        "| confidence | causes | mean confidence | right | 95 % interval (Wilson) |",
        "|---|---|---|---|---|",
    ]
    for low, high in BINS:
        some = [a for a in answers if low <= a[0] < high]
        if some:
            mean = sum(a[0] for a in some) / len(some)
            right = sum(a[1] for a in some)
            least, most = wilson(right, len(some))
            lines.append(
                f"| {low} to {min(high, 1.0)} | {len(some)} | {mean:.2f} | "
                f"{right} ({_share(right, len(some))}) | {least:.0%} to {most:.0%} |"
            )
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


if __name__ == "__main__":
    main()
