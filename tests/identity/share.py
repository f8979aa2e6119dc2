"""The share of the campaign that CI runs, and its rows that are known to differ.

`known.json` names each row of the share in which the training is not the same with NaN
Watch, and what is not. The tests hold it in both directions: a row that is not named
must be identical, and one that is named and has become identical must go. Rows that
Keras itself cannot train are named too, as "left out".
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Final

from tests.identity.architectures import draw
from tests.identity.campaign import Result, compare, machine
from tests.identity.training import MODES, Mode

KNOWN = Path(__file__).with_name("known.json")
# As many as fit a minute on two cores; the modes are test files of their own.
SIZES: Final[dict[Mode, int]] = {"graph": 3, "xla": 1, "eager": 3}
SEED: Final = 14


def seeds(mode: Mode) -> list[int]:
    """Returns the seeds of the share: of the campaign's, drawn by a fixed seed.

    XLA takes a minute to compile what has several blocks: its share has one each.
    """
    drawn = random.Random(f"{SEED} {mode}").sample(range(300), 30)
    if mode == "xla":
        specs = {seed: draw(seed) for seed in drawn}
        drawn = [s for s in drawn if len(specs[s].blocks) == 1 and not specs[s].tail]
    return sorted(drawn[: SIZES[mode]])


def row(result: Result) -> list[str]:
    """Returns what is wrong with a result, [] for nothing."""
    found = [f"{what} differs" for what in result.differs]
    if result.outcome == "left out":
        found.append(f"left out: {result.why}")
    elif result.outcome == "failed" and not result.wrong:
        found.append(" ".join(result.why.split()[:4]).rstrip(":"))
    found += [" ".join(said.split()[:5]) for said in result.wrong]
    if result.fault == "missed":
        found.append("fault missed")
    return found


def known() -> dict[tuple[str, int], list[str]]:
    """Returns the rows that are known, by mode and seed."""
    rows = json.loads(KNOWN.read_text(encoding="utf-8"))["rows"]
    return {(r["mode"], r["seed"]): r["what"] for r in rows}


def check(mode: Mode, seed: int) -> None:
    """Fails where a row of the share is not as `known.json` has it."""
    spec = draw(seed)
    result, _ = compare(spec, mode)
    found, expected = row(result), known().get((mode, seed), [])
    again = f"python -m tests.identity {seed} --mode {mode}"
    details = "\n".join([str(spec), result.why, result.first, *result.wrong])
    assert found == expected, (
        f"seed {seed} in mode {mode}: {found or 'nothing'} is wrong, and "
        f"{KNOWN.name} says {expected or 'nothing'}. See `{again}`.\n{details}\n"
        f"{result.fault_said if result.fault == 'missed' else ''}"
    )


def write_known(mode: Mode, results: list[Result]) -> None:
    """Puts the rows of a mode in the place of its former ones."""
    others = known() if KNOWN.exists() else {}
    found = {key: what for key, what in others.items() if key[0] != mode}
    found |= {(mode, r.seed): row(r) for r in results if row(r)}
    keys = sorted(found, key=lambda key: (MODES.index(key[0]), key[1]))
    lines = ",\n  ".join(
        json.dumps({"mode": m, "seed": seed, "what": found[m, seed]}) for m, seed in keys
    )
    text = f'{{\n "machine": {json.dumps(machine())},\n "rows": [\n  {lines}\n ]\n}}\n'
    KNOWN.write_text(text, encoding="utf-8")
