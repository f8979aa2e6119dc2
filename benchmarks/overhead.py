# SPDX-License-Identifier: Apache-2.0
"""What watching costs: time a step, time to the first step, peak memory, bytes logged.

Time a step is the median of ratios to plain `fit` over rounds. In a round each row
takes a stretch of steps in turn, within one process, so that a drifting machine slows
all of them; a row that changes the whole process takes turns with a plain `fit` in
another process. Plain against a second plain model says how far to trust it. Time to
the first step and memory come from fresh processes.

    python benchmarks/overhead.py                      # everything; about an hour
    python benchmarks/overhead.py --models mlp --rows "NaN Watch" --rounds 100
    python benchmarks/overhead.py --jit --models mlp   # with jit_compile=True
    python benchmarks/overhead.py --merge              # all parts so far, as tables

Each call adds its measurements to a directory (`--results`), from which the tables
are made: parts can be measured one by one, and further rounds make a row sharper.
`--write` puts the tables into docs/overhead.md and docs/cost.md.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(ROOT))

from benchmarks import tables  # noqa: E402
from benchmarks.rows import ROWS  # noqa: E402
from benchmarks.tables import AGAIN, PLAIN  # noqa: E402

MODELS = ("mlp", "conv", "transformer", "resnet", "lstm")
# The first stretches bring caches and threads up.
WARM_UP = 2
_ANSWER = "overhead: "
# Alone, a training keeps the memory that it once had. Where several take turns in one
# process, the C library gives it back in between, and the one that needs the most pays
# for its pages again in every round: up to two hundredths of a step. For the rounds it
# keeps what it has.
_KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
}

Result = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    """Measures what is asked for, and prints the tables."""
    options = _options(argv)
    if options.child:
        _child(json.loads(options.child))
        return
    results = Path(options.results)
    if not options.merge:
        results.mkdir(parents=True, exist_ok=True)
        for model in options.models.split(","):
            for part in _measure(model, options):
                name = f"{time.time_ns()}.json"
                (results / name).write_text(json.dumps(part), encoding="utf-8")
    parts = [json.loads(p.read_text("utf-8")) for p in sorted(results.glob("*.json"))]
    if not parts:
        raise SystemExit(f"no measurements in {results}: run without --merge first")
    print(tables.full(parts))
    if options.write:
        tables.write(parts, ROOT)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="default: all")
    parser.add_argument("--rows", help="names separated by ';', default: all")
    parser.add_argument("--jit", action="store_true", help="jit_compile=True")
    parser.add_argument("--rounds", type=int, default=40, help="of a stretch a row each")
    parser.add_argument("--starts", type=int, default=5, help="fresh processes a row")
    parser.add_argument("--results", default=str(ROOT / "build" / "overhead"))
    parser.add_argument("--merge", action="store_true", help="measure nothing")
    parser.add_argument("--write", action="store_true", help="into docs")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    rows = options.rows.split(";") if options.rows else list(ROWS)
    for name in [r for r in rows if r not in ROWS]:
        parser.error(f"no row {name!r}; there are: {'; '.join(ROWS)}")
    for name in [m for m in options.models.split(",") if m not in MODELS]:
        parser.error(f"no model {name!r}; there are: {', '.join(MODELS)}")
    options.rows = [r for r in rows if r != PLAIN]
    return options


# --- What is measured -----------------------------------------------------------


def _measure(model: str, options: argparse.Namespace) -> Iterator[Result]:
    """Yields the parts of one model as they are measured."""
    about = {"model": model, "jit": options.jit, "machine": machine()}
    together = [r for r in options.rows if ROWS[r].switch_on is None]
    alone = [r for r in options.rows if ROWS[r].switch_on is not None]
    if options.rounds:
        _say(f"{model}: {options.rounds} rounds of {', '.join(together) or PLAIN}")
        job = {"do": "rounds", "rows": together, "rounds": options.rounds, **about}
        yield {**about, **_in_process(job)}
        for row in alone:
            _say(f"{model}: {options.rounds} rounds of {row}")
            yield {**about, **_apart(row, about, options.rounds)}
    # As pip does where it installs a package: no first step compiles its source.
    compileall.compile_dir(str(ROOT / "tb_nanwatch"), quiet=1)
    rows = [PLAIN, *options.rows]
    failed: dict[str, str] = {}
    for i in range(options.starts):
        for row in [r for r in rows if r not in failed]:
            _say(f"{model}: start {i + 1} of {options.starts} of {row}")
            found = _in_process({"do": "start", "row": row, **about})
            if "failed" in found:
                failed[row] = found["failed"][row]
            yield {**about, **found}


def _in_process(job: Result) -> Result:
    """Runs a job in a fresh process and returns its result."""
    with _child_process(job) as child:
        return _answer(child, job)


def _apart(row: str, about: Result, rounds: int) -> Result:
    """Lets a row and plain, in a process each, take turns."""
    jobs = [{"do": "steps", "row": name, **about} for name in (PLAIN, row)]
    ratios: list[float] = []
    seconds: list[float] = []
    with _child_process(jobs[0]) as plain, _child_process(jobs[1]) as watched:

        def step(child: Any, job: Result) -> float:
            assert child.stdin is not None
            child.stdin.write("step\n")
            with contextlib.suppress(BrokenPipeError):
                child.stdin.flush()
            answer = _answer(child, job)
            if "failed" in answer:
                raise RuntimeError(answer["failed"][row])
            return float(answer["seconds"])

        try:
            for i in range(-1 - WARM_UP, rounds):
                turns = [(plain, jobs[0]), (watched, jobs[1])]
                took = {id(c): step(c, j) for c, j in turns[:: 1 if i % 2 else -1]}
                if i >= 0:
                    ratios.append(took[id(watched)] / took[id(plain)])
                    seconds.append(took[id(plain)])
        except RuntimeError as e:
            return {"failed": {row: str(e)}}
        assert watched.stdin is not None
        watched.stdin.write("close\n")
        watched.stdin.flush()
        end = _answer(watched, jobs[1])
    return {"ratios": {row: ratios}, "logged": {row: end.get("logged")}}


@contextlib.contextmanager
def _child_process(job: Result) -> Iterator[Any]:
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(_KEEP_MEMORY if job["do"] == "rounds" else {})},
        )
        child.errors = errors  # type: ignore[attr-defined]
        try:
            yield child
        finally:
            child.kill()
            child.wait()


def _answer(child: Any, job: Result) -> Result:
    for line in child.stdout:
        if line.startswith(_ANSWER):
            answer: Result = json.loads(line.removeprefix(_ANSWER))
            return answer
    # It died: the last line of what it said is why.
    child.errors.seek(0)
    lines = [line for line in child.errors.read().splitlines() if line.strip()]
    reason = lines[-1] if lines else f"the process ended with {child.wait()}"
    return {"failed": {job.get("row", "all rows"): reason[:300]}}


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def machine() -> Result:
    """Returns what the numbers depend on, without naming anyone's machine."""
    from importlib.metadata import version

    names = ("tensorflow", "keras", "tb-nanwatch")
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


# --- In a process of its own ------------------------------------------------------


def _child(job: Result) -> None:
    """Does a job and prints its result."""
    log_dir = tempfile.mkdtemp(prefix="overhead-")
    jobs: dict[str, Callable[[Result, str], Result]] = {
        "rounds": _rounds,
        "steps": _steps,
        "start": _start,
    }
    try:
        answer = jobs[job["do"]](job, log_dir)
    finally:
        shutil.rmtree(log_dir, ignore_errors=True)
    _print(answer)
    sys.stdout.flush()
    os._exit(0)  # threads may still wait inside `fit`


def _print(answer: Result) -> None:
    print(_ANSWER + json.dumps(answer), flush=True)


def _reason(error: BaseException) -> str:
    # TensorFlow says where before it says what, twice.
    text = re.sub(r"(?s)Detected at node .*?<stack traces unavailable>", "", str(error))
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text}"[:200]


def _rounds(job: Result, log_dir: str) -> Result:
    from benchmarks.measure import Stepper, bytes_below

    model, jit, rounds = job["model"], job["jit"], job["rounds"]
    steppers: dict[str, Stepper] = {}
    failed: dict[str, str] = {}
    directories: dict[str, str] = {}
    for i, row in enumerate([PLAIN, *job["rows"], AGAIN]):
        directories[row] = os.path.join(log_dir, str(i))
        name = PLAIN if row == AGAIN else row
        try:
            stepper = Stepper(name, model, jit, directories[row])
            for _ in range(1 + WARM_UP):
                stepper.step()
        except Exception as e:
            failed[row] = _reason(e)
        else:
            steppers[row] = stepper
    rows = list(steppers)
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    for r in range(rounds):
        # Each row stands in each place of the round in turn.
        for row in rows[r % len(rows) :] + rows[: r % len(rows)]:
            seconds[row].append(steppers[row].step())
    logged = {}
    for row, stepper in steppers.items():
        stepper.close()
        if row not in (PLAIN, AGAIN):
            logged[row] = [bytes_below(directories[row]), stepper.steps]
    plain = seconds[PLAIN]
    return {
        "ratios": {
            row: [a / b for a, b in zip(seconds[row], plain, strict=True)]
            for row in rows
            if row != PLAIN
        },
        "step": [s / steppers[PLAIN].stretch for s in plain],
        "stretch": steppers[PLAIN].stretch,
        "logged": logged,
        "failed": failed,
    }


def _steps(job: Result, log_dir: str) -> Result:
    """Takes a stretch for each line that it reads, until it is told to close."""
    from benchmarks.measure import Stepper, bytes_below

    try:
        stepper = Stepper(job["row"], job["model"], job["jit"], log_dir)
        for line in sys.stdin:
            if line.strip() == "close":
                break
            _print({"seconds": stepper.step()})
        stepper.close()
    except Exception as e:
        return {"failed": {job["row"]: _reason(e)}}
    return {"logged": [bytes_below(log_dir), stepper.steps]}


def _start(job: Result, log_dir: str) -> Result:
    from benchmarks.measure import start

    try:
        found = start(job["row"], job["model"], job["jit"], log_dir)
    except Exception as e:
        return {"failed": {job["row"]: _reason(e)}}
    return {"starts": {job["row"]: found}}


if __name__ == "__main__":
    main()
