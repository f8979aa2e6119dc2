"""Keras' own tests with a NanWatch in every fit: `python -m tests.peers.run`, `make peers`.

The Keras wheel holds its tests. Each of those that calls `fit` runs twice without and
once with a NanWatch in every fit, as the tests are (graph mode) and with the default of
a machine that has a GPU (XLA). What differs between the two runs without proves nothing,
nor does a fit that was not watched: both are counted apart. Everything else must be
the same: outcomes, weights, layer state, optimizer, history and random state. Writes
build/peers.json, prints a table, and fails on a difference that tests/peers/known.json
does not hold, or that it holds and that is gone.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.peers.compare import Process, Seen, differences, load, parts, why_not
from tests.peers.processes import GPU, GRAPH, MODES, NANWATCH, ROOT, SITE, run

KERAS: Final = importlib.metadata.version("keras")
KNOWN: Final = Path(__file__).with_name("known.json")
SHARE: Final = Path(__file__).with_name("share.json")
_CHUNKS: Final = 8
# Tests of the share that runs among this project's own: drawn by this seed, for so many
# seconds in each mode, the three runs together.
_SHARE_SEED: Final = 20261128
_SHARE_SECONDS: Final = {GRAPH: 20.0, GPU: 25.0}


@dataclass
class Campaign:
    """What one mode showed.

    Attributes:
        first, again, watched: what was recorded, plainly twice and with the callback;
            `again` is `first` where watching changed nothing.
        unsteady: differs without the callback, by test.
        found: differs with it, by test.
        once: of `found`, what did not differ when it was tried again.
    """

    mode: str
    first: Process = field(default_factory=Process)
    again: Process = field(default_factory=Process)
    watched: Process = field(default_factory=Process)
    unsteady: dict[str, dict[str, str]] = field(default_factory=dict)
    found: dict[str, dict[str, str]] = field(default_factory=dict)
    once: list[str] = field(default_factory=list)

    def compare(self) -> None:
        """Finds what differs, with the callback alone."""
        for test, plain in self.first.tests.items():
            if not plain.fits:
                continue
            unsteady = differences(plain, self.again.tests.get(test, Seen()))
            found = differences(plain, self.watched.tests.get(test, Seen()))
            if unsteady:
                self.unsteady[test] = unsteady
            found = {k: v for k, v in found.items() if k not in unsteady}
            if found:
                self.found[test] = found

    def confirm(self, folder: Path, callback: str) -> None:
        """Tries the tests that differ again: a rare difference may be no one's fault.

        A test whose plain runs differ after all is unsteady. One that does not differ
        again stays found, and is named.
        """
        if not self.found:
            return
        ids, files = list(self.found), modules_of(self.found)
        one, other = (
            load(run(files, folder / f"confirm{i}.jsonl", mode=self.mode, ids=ids))
            for i in range(2)
        )
        out = folder / "confirmW.jsonl"
        seen = load(run(files, out, mode=self.mode, ids=ids, callback=callback))
        for test in ids:
            plain = one.tests.get(test, Seen())
            unsteady = differences(plain, other.tests.get(test, Seen()))
            if unsteady:
                self.unsteady[test] = self.unsteady.get(test, {}) | unsteady
                left = {k: v for k, v in self.found[test].items() if k not in unsteady}
                self.found[test] = left
                if not left:
                    del self.found[test]
            elif not differences(plain, seen.tests.get(test, Seen())):
                self.once.append(test)

    def fits(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns test and record of every fit of the run with the callback."""
        tests = self.watched.tests.items()
        return [(name, fit) for name, test in tests for fit in test.fits.values()]

    def proofs(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns the fits that prove something: watched, and the same each time without."""
        return [
            (name, fit)
            for name, fit in self.fits()
            if not why_not(fit)
            and not any(
                part == "outcome" or part.startswith(f"fit {fit['fit']} ")
                for part in self.unsteady.get(name, ())
            )
        ]

    def summary(self) -> dict[str, Any]:
        """Returns what build/peers.json holds of this mode."""
        fits, proofs = self.fits(), self.proofs()
        kinds = Counter(
            parts_word for f in self.found.values() for parts_word in parts(f)
        )
        with_fit = [t for t in self.first.tests.values() if t.fits]
        return {
            "modules": len(modules_of(self.watched.tests)),
            "tests": len(with_fit),
            "fits": len(fits),
            "watched": sum(not why_not(fit) for _, fit in fits),
            "proofs": len(proofs),
            "by model": dict(Counter(fit["model"] for _, fit in proofs).most_common()),
            "by step": dict(
                Counter(
                    "eager" if f["eager"] else "XLA" if f["jit"] else "graph"
                    for _, f in proofs
                ).most_common()
            ),
            "not watched": dict(
                Counter(filter(None, (why_not(fit) for _, fit in fits))).most_common()
            ),
            "unsteady": {name: parts(found) for name, found in self.unsteady.items()},
            "differing tests": len(self.found),
            "differing by part": dict(kinds.most_common()),
            "differences": self.found,
            "differed once": self.once,
        }


def all_modules() -> list[str]:
    """Returns every test module of the wheel, relative to `SITE`."""
    tests = sorted((SITE / "keras" / "src").rglob("*_test.py"))
    return [path.relative_to(SITE).as_posix() for path in tests]


def reason(words: str) -> str:
    """Returns why a module is left out: what it imports and is not installed."""
    missing = re.search(r"No module named '(\w+)|needs (\w+)", words)
    return f"needs {missing[1] or missing[2]}" if missing else words


def modules_of(tests: Any) -> list[str]:
    """Returns the modules of the ids, in order."""
    return list(dict.fromkeys(test.partition("::")[0] for test in tests))


def campaign(
    mode: str,
    chunks: Sequence[list[str]],
    ids: Sequence[str] | None,
    folder: Path,
    callback: str,
    jobs: int,
) -> Campaign:
    """Runs the modules in one mode.

    Args:
        mode: of `MODES`.
        chunks: modules that share a process.
        ids: the tests to run; None finds out which ones call `fit`.
        folder: for what the processes write.
        callback: put into every fit.
        jobs: processes at a time.
    """

    def one(number: int) -> tuple[Process, Process, Process]:
        files = chunks[number]
        if ids is not None:
            files = [m for m in modules_of(ids) if m in files]
        out = [folder / f"{number}{name}.jsonl" for name in ("A", "B", "W")]
        if not files:
            return Process(), Process(), Process()
        first = load(run(files, out[0], mode=mode, ids=ids))
        fitted = [name for name, test in first.tests.items() if test.fits]
        where = modules_of(fitted)
        if not where:
            return first, Process(), Process()
        seen = load(run(where, out[2], mode=mode, ids=fitted, callback=callback))
        # Whether plain runs differ is asked where the watched one does.
        again = first
        if any(differences(first.tests[t], seen.tests.get(t, Seen())) for t in fitted):
            again = load(run(where, out[1], mode=mode, ids=fitted))
        print(f"{mode}: {number + 1} of {len(chunks)}", file=sys.stderr, flush=True)
        return first, again, seen

    result = Campaign(mode)
    with ThreadPoolExecutor(jobs) as pool:
        for first, again, seen in pool.map(one, range(len(chunks))):
            result.first |= first
            result.again |= again
            result.watched |= seen
    result.compare()
    result.confirm(folder, callback)
    return result


def table(summaries: dict[str, dict[str, Any]]) -> str:
    """Returns the numbers of each mode as Markdown."""
    rows = ["modules", "tests", "fits", "watched", "proofs", "differing tests"]
    lines = [f"| | {' | '.join(summaries)} |", "|---|" + "---|" * len(summaries)]
    for row in rows:
        lines.append(f"| {row} | {' | '.join(str(s[row]) for s in summaries.values())} |")
    for group in ("by model", "by step", "not watched", "differing by part"):
        for name in dict.fromkeys(n for s in summaries.values() for n in s[group]):
            cells = " | ".join(str(s[group].get(name, 0)) for s in summaries.values())
            lines.append(f"| {group}: {name} | {cells} |")
    counts = " | ".join(str(len(s["unsteady"])) for s in summaries.values())
    lines.append(f"| tests left out in part, since they differ without | {counts} |")
    return "\n".join(lines)


def unknown(summaries: dict[str, dict[str, Any]], known: dict[str, Any]) -> list[str]:
    """Returns what is found and not known, and what is known and not found."""
    complaints = []
    for mode, summary in summaries.items():
        found = {test: parts(what) for test, what in summary["differences"].items()}
        listed = known.get(mode, {})
        for test in sorted(found.keys() | listed.keys()):
            if found.get(test) != listed.get(test):
                complaints.append(
                    f"{mode}: {test}: differs in {found.get(test, 'nothing')}, known is "
                    f"{listed.get(test, 'nothing')}"
                )
    return complaints


def share(result: Campaign) -> list[str]:
    """Returns tests whose fits are all proofs, drawn by a fixed seed."""
    proofs = Counter(name for name, _ in result.proofs())
    watched = result.watched.tests
    tests = sorted(name for name, n in proofs.items() if n == len(watched[name].fits))
    random.Random(_SHARE_SEED).shuffle(tests)
    chosen, left = [], _SHARE_SECONDS[result.mode]
    for name in tests:
        runs = (result.first, result.again, result.watched)
        left -= sum(process.tests[name].seconds for process in runs)
        if left < 0:
            break
        chosen.append(name)
    return sorted(chosen)


def main() -> int:
    """Runs the campaign and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--mode", choices=MODES, nargs="+", default=MODES)
    parser.add_argument("--callback", default=NANWATCH, help="module:class")
    parser.add_argument("--only", default="", help="regular expression of modules")
    parser.add_argument("--keep", type=Path, help="folder to go on in")
    parser.add_argument(
        "--write", action="store_true", help="what is known, and the share for CI"
    )
    arguments = parser.parse_args()
    began = time.monotonic()
    build = arguments.keep or ROOT / "build" / "peers"
    if not arguments.keep:
        shutil.rmtree(build, ignore_errors=True)
    everything = all_modules()
    chosen = [m for m in everything if re.search(arguments.only, m)]
    number = min(_CHUNKS, len(chosen))
    # Neighbours are alike, and would make one process long.
    chunks = [chosen[i::number] for i in range(number)]
    results: dict[str, Campaign] = {}
    left_out: dict[str, str] = {}
    collected = without = 0
    ids: list[str] | None = None
    for mode in arguments.mode:
        folder = build / mode
        folder.mkdir(parents=True, exist_ok=True)
        found = campaign(mode, chunks, ids, folder, arguments.callback, arguments.jobs)
        results[mode] = found
        left_out |= {m: reason(w) for m, w in found.first.left_out.items()}
        if ids is None:
            collected, without = found.first.collected, found.first.without_fit
        ids = [name for name, test in found.first.tests.items() if test.fits]
    summaries = {mode: result.summary() for mode, result in results.items()}
    held = json.loads(KNOWN.read_text(encoding="utf-8"))
    known = {
        mode: {t: w for t, w in tests.items() if t.partition("::")[0] in chosen}
        for mode, tests in held.items()
    }
    report = {
        "keras": KERAS,
        "modules of the wheel": len(everything),
        "tests of the wheel": collected,
        "tests that name no fit": without,
        "left out": left_out,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "modes": summaries,
    }
    out = ROOT / "build" / "peers.json"
    out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(table(summaries))
    print(
        f"\n{collected} tests in {len(everything)} modules of the wheel; {without} name "
        f"no fit, {len(left_out)} modules need what is not installed; "
        f"{report['minutes']} minutes"
    )
    if arguments.write:
        listed = {
            mode: {test: parts(what) for test, what in result.found.items()}
            for mode, result in results.items()
        }
        drawn = {mode: share(result) for mode, result in results.items()}
        for path, made in ((KNOWN, listed), (SHARE, {"keras": KERAS, "tests": drawn})):
            text = json.dumps(made, indent=1, sort_keys=True)
            path.write_text(text + "\n", encoding="utf-8")
        return 0
    complaints = unknown(summaries, known)
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
