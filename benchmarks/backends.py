# SPDX-License-Identifier: Apache-2.0
"""Measures the cost of watching on Keras' backend: a few minutes, a line for each model.

    KERAS_BACKEND=torch python -m benchmarks.backends --rounds 15

Rounds are interleaved: each row takes a stretch of steps in turn, within a `fit` of its own
that goes on for all rounds. The ratio of a round is that of a row's CPU seconds to plain
`fit`'s: what else a shared machine does adds to the time, and less to these.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.tables import interval, median

MODELS = ("mlp", "conv", "transformer", "resnet", "lstm")
# Stretches that are not counted: what is traced or warmed up in them is no step's.
_FIRST = 2


def main(argv: list[str] | None = None) -> None:
    """Prints a row of a Markdown table for each model, and the machine that it was measured on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="model")
    options = parser.parse_args(argv)
    print("| model | NaN Watch | plain against itself | a plain step, CPU |")
    print("|---|---|---|---|")
    for name in options.models:
        print(_row(name, options.rounds), flush=True)
    print(f"\n{_machine(options.rounds)}")


def _row(name: str, rounds: int) -> str:
    from benchmarks.measure import Stepper

    with tempfile.TemporaryDirectory() as place:
        rows = {"plain": "plain", "watched": "NaN Watch", "again": "plain"}
        steppers = {
            key: Stepper(row, name, False, str(Path(place, key)))
            for key, row in rows.items()
        }
        taken: dict[str, list[float]] = {key: [] for key in rows}
        for number in range(rounds + _FIRST):
            # Not always in the same order: what comes first may find a warmer cache.
            for key in list(rows)[:: -1 if number % 2 else 1]:
                began = time.process_time()
                steppers[key].step()
                if number >= _FIRST:
                    taken[key].append(time.process_time() - began)
        stretch = steppers["plain"].stretch
        for stepper in steppers.values():
            stepper.close()
    plain = taken["plain"]
    milliseconds = 1e3 * median(plain) / stretch
    return (
        f"| {name} | {_ratio(taken['watched'], plain)} | {_ratio(taken['again'], plain)} "
        f"| {milliseconds:.2f} ms |"
    )


def _ratio(one: list[float], other: list[float]) -> str:
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    low, high = interval(ratios)
    return f"{median(ratios):.3f} ({low:.3f} to {high:.3f})"


def _machine(rounds: int) -> str:
    import keras

    backend = keras.backend.backend()
    module: Any = sys.modules[backend]
    return (
        f"{backend} {module.__version__}, Keras {keras.__version__}, {rounds} rounds, "
        f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '-')}, "
        f"load {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
