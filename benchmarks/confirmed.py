# SPDX-License-Identifier: Apache-2.0
"""How often experiments confirm a cause: `python -m benchmarks.confirmed [--write]`.

Runs programs of the corpus whose fault is a rate, a scale or a setting of the optimizer,
and the demo, and counts those that went bad within their first steps by what the
experiments said of the cause. With `--write` the table goes into docs/diagnosis.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tensorboard.context import RequestContext

from benchmarks.made import put
from tb_nanwatch.diagnosis.ranking import Facts, diagnose
from tb_nanwatch.postmortem.experiments import TOO_SHORT
from tb_nanwatch.reading.log.causes import facts_in_full
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.record.schema import BAD_STATUSES, Experiment
from tb_nanwatch.writing.search.alike import SPENT
from tests.corpus.programs import programs
from tests.corpus.run import facts_from

SEED: Final = 90417
PER_KIND: Final = 6
ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs" / "diagnosis.md"
START: Final = "<!-- confirmed: made by `python -m benchmarks.confirmed --write` -->"
END: Final = "<!-- /confirmed -->"
MACHINE: Final = f"{platform.machine()}, {os.cpu_count()} cores"
# Steps within which a run has to have gone bad to be counted.
WITHIN: Final = 200
# The changes that can confirm each of these causes.
CHANGES: Final = {
    "learning_rate": ("learning_rate/", "schedule/"),
    "unscaled_inputs": ("inputs", "inputs_and_labels"),
    "unscaled_targets": ("labels", "inputs_and_labels"),
    "unscaled_data": ("inputs", "labels", "inputs_and_labels"),
    "optimizer_settings": ("optimizer",),
}
# The demo's programs.
DEMO: Final = (
    "01_as_asked.py",
    "02_unscaled_data.py",
    "03_custom_loss.py",
    "04_wide_search.py",
    "05_plain_training.py",
)
CONFIRMED: Final = "confirmed"
NOT_COUNTED: Final = ("not bad", "another cause", f"bad after step {WITHIN}")
# What an experiment says that was given too little time.
_NO_TIME: Final = "no time was left"
_STOPPED: Final = "stopped early, for time"

# Where a run comes from, its fault where that is known, and what its log holds.
Run = tuple[str, str | None, Facts]


def outcome_of(fault: str | None, facts: Facts) -> tuple[str, str]:
    """Returns the cause that a run counts for, and the result of the experiments on it.

    Args:
        fault: that the program has; None where it is what the diagnosis names.
        facts: of the run.
    """
    causes = diagnose(facts)
    cause = fault or (causes[0].id if causes else "")
    if facts.status not in BAD_STATUSES or facts.onset is None:
        return cause, "not bad"
    if cause not in CHANGES:
        return cause, "another cause"
    if facts.onset.step >= WITHIN:
        return cause, f"bad after step {WITHIN}"
    if causes[0].sure == "tested":
        right = causes[0].id == cause or (
            causes[0].id == "unscaled_data" and cause.startswith("unscaled")
        )
        return cause, CONFIRMED if right else f"tested as {causes[0].id}"
    return cause, _why_not(facts, cause)


def _why_not(facts: Facts, cause: str) -> str:
    found = facts.postmortem
    if found is None:
        return f"not tried: a {facts.status} run has no post-mortem"
    if not found.experiments:
        if SPENT in found.untried:
            return f"not tried: {_NO_TIME}"
        return f"not tried: {found.untried or 'no reason is given'}"
    control = found.experiments[0]
    if not control.tried:
        return f"not tried: {control.note}"
    mine = [e for e in found.experiments if _is_for(e, cause)]
    tried = [e for e in mine if e.tried]
    if any(e.note in (_NO_TIME, _STOPPED) for e in mine if not e.succeeded):
        return f"not tried: {_NO_TIME}"
    if tried:
        return _how_it_went(tried)
    if found.untried == TOO_SHORT:
        return f"not tried: {_NO_TIME}"
    if control.finite:
        return "not tried: run again, it stayed finite"
    return f"not tried: {mine[-1].note if mine else 'no such experiment'}"


def _how_it_went(tried: list[Experiment]) -> str:
    if any(e.succeeded for e in tried):
        return "tried: it helped, and more was needed to name it"
    if any(e.finite for e in tried):
        return "tried: finite, and it did not learn"
    return "tried: went bad all the same"


def _is_for(experiment: Experiment, cause: str) -> bool:
    return any(
        experiment.change == c or (c[-1] == "/" and experiment.change.startswith(c))
        for c in CHANGES[cause]
    )


def tally(runs: Iterable[Run]) -> Counter[tuple[str, str, str]]:
    """Returns how many runs of each origin and cause came out in each way."""
    return Counter((origin, *outcome_of(fault, facts)) for origin, fault, facts in runs)


def report(counts: Counter[tuple[str, str, str]]) -> str:
    """Returns the tallied runs that went bad early as Markdown."""
    counted = {key: n for key, n in counts.items() if key[2] not in NOT_COUNTED}
    lines = [
        "| runs | cause | went bad | confirmed | no time | not tried | tried in vain |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = sorted({(origin, cause) for origin, cause, _ in counted})
    for origin, cause in groups:
        of = _by_outcome(counted, lambda key, g=(origin, cause): key[:2] == g)
        lines.append(f"| {origin} | {cause} | " + " | ".join(_row(of)) + " |")
    whole = _by_outcome(counted, lambda key: True)
    lines.append("| all | | " + " | ".join(_row(whole)) + " |")
    bad, no_time = sum(whole.values()), _timeless(whole)
    fitting = bad - no_time
    lines += [
        "",
        f"Confirmed: {whole[CONFIRMED]} of the {fitting} whose steps fit the time "
        f"({_share(whole[CONFIRMED], fitting)}); {no_time} of {bad} did not "
        f"({_share(no_time, bad)}).",
    ]
    others = [(n, text) for text, n in whole.items() if text != CONFIRMED]
    if others:
        lines += ["", "The others:", ""]
        lines += [f"- {n}: {text}" for n, text in sorted(others, reverse=True)]
    return "\n".join(lines)


def _by_outcome(counted: dict[tuple[str, str, str], int], wanted: object) -> Counter[str]:
    found: Counter[str] = Counter()
    for key, n in counted.items():
        if wanted(key):  # type: ignore[operator]
            found[key[2]] += n
    return found


def _row(of: Counter[str]) -> list[str]:
    untried = sum(n for text, n in of.items() if text.startswith("not tried"))
    confirmed, no_time = of[CONFIRMED], _timeless(of)
    bad = sum(of.values())
    numbers = (bad, confirmed, no_time, untried - no_time, bad - confirmed - untried)
    return [str(n or "") for n in numbers]


def _timeless(of: Counter[str]) -> int:
    return of[f"not tried: {_NO_TIME}"]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


# --- The runs --------------------------------------------------------------------------


def corpus(seed: int, per_kind: int) -> Iterator[Run]:
    """Yields the runs of the corpus' programs with a fault that is counted."""
    for program in programs(seed, per_kind):
        if program.cause in CHANGES:
            with contextlib.redirect_stdout(io.StringIO()):
                facts = facts_from(program)
            yield "corpus", program.cause, facts


def demo() -> Iterator[Run]:
    """Trains the demo again and yields its runs; its logs stay where the demo writes them."""
    with tempfile.TemporaryDirectory() as name:
        environment = {**os.environ, "DEMO_INVOCATION": Path(name).name}
        for program in DEMO:
            subprocess.run(
                [sys.executable, str(ROOT / "demo" / program)],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        for logs in sorted((ROOT / "demo" / "logs").glob(f"*/{Path(name).name}")):
            reader, ctx = Reader(make_provider(str(logs))), RequestContext()
            for session in reader.snapshot(ctx, "").sessions:
                yield "demo", None, facts_in_full(reader, ctx, "", session)


def kept(path: str) -> Iterator[Run]:
    """Yields the runs that an earlier call kept."""
    with open(path, "rb") as f, contextlib.suppress(EOFError):
        while True:
            yield pickle.load(f)


def _told(runs: Iterator[Run], keep: str | None) -> Iterator[Run]:
    for run in runs:
        origin, fault, facts = run
        cause, outcome = outcome_of(fault, facts)
        print(f"{origin} {cause}: {outcome}", file=sys.stderr, flush=True)
        if keep:
            with open(keep, "ab") as f:
                pickle.dump(run, f)
        yield run


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs corpus and demo, and prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--per-kind", type=int, default=PER_KIND)
    parser.add_argument("--only", choices=("corpus", "demo"))
    parser.add_argument("--keep", metavar="FILE", help="append the runs' facts to it")
    parser.add_argument("--again", metavar="FILE", help="count what was kept there")
    parser.add_argument("--machine", default=MACHINE, help="that it runs on, in words")
    parser.add_argument("--write", action="store_true", help="into docs/diagnosis.md")
    given = parser.parse_args(arguments)
    runs: list[Run] = []
    if given.again:
        runs += kept(given.again)
    else:
        if given.only != "demo":
            runs += _told(corpus(given.seed, given.per_kind), given.keep)
        if given.only != "corpus":
            runs += _told(demo(), given.keep)
    text = (
        f"Seed {given.seed}, {given.per_kind} programs of each kind, and the demo; on "
        f"{given.machine}.\n\n{report(tally(runs))}"
    )
    print(text)
    if given.write:
        put(DOCS, START, END, text)


if __name__ == "__main__":
    main()
