"""How often the cause is named right: `python -m benchmarks.diagnosis --seed 7`.

Runs the corpus of programs with known faults, and prints precision and recall of each
cause, the confusion matrix and how far confidences can be trusted. The thresholds of
`tb_nanwatch/rules.py` are committed before the seed of published figures is drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections import Counter

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tb_nanwatch.diagnosis import diagnose
from tests.corpus.programs import CAUSES, CLEAN, programs
from tests.corpus.run import facts_from

# Bins of the reliability table.
BINS = ((0.0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 1.0))


def main() -> None:
    """Runs the corpus and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--per-cause", type=int, default=12)
    arguments = parser.parse_args()
    matrix: Counter[tuple[str, str]] = Counter()
    answers: list[tuple[float, bool]] = []
    for program in programs(arguments.seed, arguments.per_cause):
        with contextlib.redirect_stdout(io.StringIO()):
            facts = facts_from(program)
        causes = diagnose(facts)
        named = causes[0].id if causes else CLEAN
        matrix[program.cause, named] += 1
        if causes and named != "unknown":
            answers.append((causes[0].confidence, named == program.cause))
        print(f"{program.cause} -> {named} ({facts.status})", file=sys.stderr, flush=True)
    report(matrix, answers)


def report(matrix: Counter[tuple[str, str]], answers: list[tuple[float, bool]]) -> None:
    """Prints the tables.

    Args:
        matrix: how often each fault was given each name.
        answers: confidence of each name given, and whether it was right.
    """
    columns = [*CAUSES, "unknown"]
    print("| fault | went bad | named right | recall | precision |")
    print("|---|---|---|---|---|")
    all_bad = all_right = 0
    for cause in CAUSES:
        total = sum(n for (fault, _), n in matrix.items() if fault == cause)
        bad = total - (matrix[cause, CLEAN] if cause != CLEAN else 0)
        right = matrix[cause, cause]
        named = sum(n for (_, name), n in matrix.items() if name == cause)
        if cause == CLEAN:  # a fault without consequence is rightly called clean
            named = right
        else:
            all_bad, all_right = all_bad + bad, all_right + right
        print(
            f"| {cause} | {bad} | {right} | {_share(right, bad)} | {_share(right, named)} |"
        )
    print(
        f"\nTop cause right in {all_right} of {all_bad} ({_share(all_right, all_bad)}).\n"
    )
    print("| fault \\ named | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for cause in CAUSES:
        cells = (str(matrix[cause, name] or "") for name in columns)
        print(f"| {cause} | " + " | ".join(cells) + " |")
    print("\n| confidence | answers | mean confidence | right |\n|---|---|---|---|")
    for low, high in BINS:
        some = [a for a in answers if low <= a[0] < high]
        if some:
            mean = sum(a[0] for a in some) / len(some)
            right = sum(a[1] for a in some)
            print(
                f"| {low} to {high} | {len(some)} | {mean:.2f} | {_share(right, len(some))} |"
            )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


if __name__ == "__main__":
    main()
