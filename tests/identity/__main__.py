"""The campaign's command line.

    python -m tests.identity 17 --mode xla       what differs with seed 17
    python -m tests.identity 17 --set policy=float32 --set shuffle=False --drop 0
    python -m tests.identity 0-299 --mode graph --out build/identity.json
    python -m tests.identity --table build/identity.json
    python -m tests.identity --known --mode xla  what CI's share is known to differ in
    KERAS_BACKEND=jax python -m tests.identity 0-29 --mode graph   as Keras' backend runs it

One seed is told in full; `--set` changes a field of its spec and `--drop` leaves a block
out, so that what differs can be made smaller by hand.
"""

from __future__ import annotations

import argparse
import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.identity.architectures import Spec, draw
from tests.identity.campaign import bad, compare, features, line, run, table
from tests.identity.share import seeds, write_known
from tests.identity.training import MODES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.identity")
    parser.add_argument("seeds", nargs="*", help="17, or 0-299")
    parser.add_argument("--mode", choices=MODES, default="graph")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--drop", action="append", default=[], type=int, metavar="BLOCK")
    parser.add_argument("--out", type=Path, help="JSON to write the results to")
    parser.add_argument(
        "--known", action="store_true", help="write the rows of CI's share anew"
    )
    parser.add_argument("--table", type=Path, help="JSON to read results from")
    args = parser.parse_args()
    if args.table is not None:
        text, is_clean = table(args.table)
        print(text)
        return int(not is_clean)
    if args.known:
        write_known(args.mode, run(seeds(args.mode), args.mode, args.out))
        return 0
    chosen = [seed for text in args.seeds for seed in _seeds(text)]
    if len(chosen) != 1:
        results = run(chosen, args.mode, args.out)
        if args.out is not None:
            for feature, differing, n in features(args.out, args.mode):
                print(f"{feature:40} {differing:4} of {n:4} differ")
        return int(any(bad(r) for r in results))
    spec = _changed(draw(chosen[0]), args.set, args.drop)
    print(spec)
    result, found = compare(spec, args.mode)
    print(line(result))
    for difference in found:
        print(f"  {difference}")
    for said in [*result.wrong, *result.fault_said.splitlines()]:
        print(f"  {said}")
    return int(bad(result))


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _changed(spec: Spec, changes: list[str], dropped: list[int]) -> Spec:
    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        try:
            values[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):  # a bare word
            values[name] = text
    kept = tuple(b for i, b in enumerate(spec.blocks) if i not in dropped)
    return replace(spec, **{"blocks": kept, **values})


if __name__ == "__main__":
    raise SystemExit(main())
