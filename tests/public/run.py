"""Runs the programs after public reports, and says what was found of their faults.

    python -m tests.public.run                    all programs, into results.json and docs/public.md
    python -m tests.public.run 05 14              these alone
    python -m tests.public.run --page             docs/public.md anew, from results.json
    python -m tests.public.run --fixed            the mended forms, which must be clean
    python -m tests.public.run --numerics FILE    one program under enable_check_numerics()

Each program runs in a process of its own with NanWatch, and what is compared is the report
as users get it, `tb-nanwatch report LOGDIR --json`. Beside it, in another process and without
NanWatch, it runs under `tf.debugging.enable_check_numerics()`, whose error names an operation
and a stack. The first row ever written of a program stays in results.json for good.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tb_nanwatch.diagnosis.reputation import family_of
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import STATUSES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = sorted((HERE / "programs").glob("[0-9]*.py"))
RESULTS = HERE / "results.json"
PAGE = ROOT / "docs" / "public.md"
MODULE = ROOT / "tb_nanwatch" / "diagnosis" / "rules" / "track_record.py"
# The first program of each set. Those from 23 on were written when the diagnosis' rules were
# no longer changed; those from 41 on when rules had been added for what 23 to 40 had shown,
# and those from 53 on when much had been mended after that.
SETS = ("01", "23", "41", "53")

# TensorFlow's types of an operation and of its gradient, for check_numerics' sake.
TYPES = {
    "tf.math.acos": {"Acos", "Reciprocal"},
    "tf.math.divide": {"RealDiv"},
    "tf.math.exp": {"Exp"},
    "tf.math.log": {"Log", "Reciprocal"},
    "tf.math.multiply": {"Mul"},
    "tf.math.pow": {"Pow"},
    "tf.math.reduce_std": {"Sqrt", "SqrtGrad"},
    "tf.math.rsqrt": {"Rsqrt", "RsqrtGrad"},
    "tf.math.sqrt": {"Sqrt", "SqrtGrad"},
    "tf.math.square": {"Square"},
    "tf.norm": {"Sqrt", "SqrtGrad"},
    "tf.nn.sparse_softmax_cross_entropy_with_logits": {
        "SparseSoftmaxCrossEntropyWithLogits"
    },
}


def expectation(program: Path) -> dict[str, Any]:
    """Returns the program's EXPECT, read and not imported: TensorFlow is slow to start."""
    for node in ast.parse(program.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXPECT":
            found: dict[str, Any] = ast.literal_eval(node.value)
            return found
    raise ValueError(f"{program.name} has no EXPECT")


def source_of(program: Path) -> str:
    """Returns where the program comes from, in words: what its docstring says first."""
    text = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8"))) or ""
    words = " ".join(text.split("Source: ", 1)[-1].split())
    return re.split(r": | \(|\. |, and (?!Keras)", words)[0].rstrip(".")


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def text_at(program: Path, line: int) -> str:
    return program.read_text(encoding="utf-8").splitlines()[line - 1].strip()


def watched(program: Path, fixed: bool = False) -> dict[str, Any]:
    """Runs the program with NanWatch, and returns what the report says of its worst run."""
    with tempfile.TemporaryDirectory() as logs:
        started = time.monotonic()
        ended = python(program, logs, *(["fixed"] if fixed else []))
        seconds = time.monotonic() - started
        found = told(program, logs)
    if "error" in found:
        found["error"] = found["error"] or ended.stderr[-2000:]
    return {
        **found,
        "seconds": round(seconds, 1),
        **({"exit": ended.stderr[-500:]} if ended.returncode else {}),
    }


def watched_together(programs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Returns by name what `watched` does of each; they share one process, to be quicker."""
    with tempfile.TemporaryDirectory() as logs:
        ended = python("-m", "tests.public.run", "--into", logs, *programs)
        return {
            p.stem: {"error": ended.stderr[-2000:]}
            if not Path(logs, p.stem).is_dir()
            else told(p, str(Path(logs, p.stem)))
            for p in programs
        }


def run_into(directory: Path, programs: Sequence[Path]) -> None:
    """Runs programs with NanWatch, one after the other; each has a directory of its own."""
    import keras

    for program in programs:
        keras.backend.clear_session()
        loaded(program).main(str(directory / program.stem))


def told(program: Path, logs: str) -> dict[str, Any]:
    """Returns what the report says of the worst run below `logs`, which the program wrote."""
    from tb_nanwatch.reading import cli

    printed, failed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(failed):
        code = cli.main(["report", logs, "--json", "--with-data"])
    if code or not printed.getvalue():
        return {"error": failed.getvalue()[-2000:]}
    runs = json.loads(printed.getvalue())["runs"]
    run = max(runs, key=lambda r: STATUSES.index(r["status"]))
    onset, origin, causes = run["onset"] or {}, run["origin"] or {}, run["causes"]
    source = ((run["postmortem"] or {}).get("source") or {}) if origin else {}
    line = None
    if source and Path(source["file"]).name == program.name:
        line = text_at(program, source["line"])
    return {
        "status": run["status"],
        "phase": onset.get("phase"),
        "step": onset.get("step"),
        "tensor": f"{origin['kind']} {origin['name']}" if origin else None,
        "operation": origin.get("op"),
        "line": line,
        "reason": (run["postmortem"] or {}).get("reason"),
        "cause": causes[0]["id"] if causes else None,
        "confidence": causes[0]["confidence"] if causes else None,
        "sure": causes[0].get("sure") if causes else None,
        "others": [cause["id"] for cause in causes[1:]],
        "evidence": causes[0]["evidence"] if causes else None,
        "fix": causes[0]["fix"] if causes else None,
    }


def numerics(program: Path) -> dict[str, Any]:
    """Runs the program under enable_check_numerics(), and returns what its error names."""
    started = time.monotonic()
    ended = python("-m", "tests.public.run", "--numerics", program)
    seconds = round(time.monotonic() - started, 1)
    if ended.returncode:
        return {"error": ended.stderr[-500:], "seconds": seconds}
    message = str(json.loads(ended.stdout.splitlines()[-1]))
    # A tuner catches a trial's error, and prints it.
    printed = ended.stdout + ended.stderr
    if not message and "Detected Infinity or NaN" in printed:
        message = printed
    operation = re.search(
        r'in output \d+ of (?:graph|eagerly-executing) op "(\w+)"', message
    )
    # As a reader finds it: the last line of this file in the traceback.
    lines = re.findall(rf'{re.escape(program.name)}"?, line (\d+)', message)
    lines = lines or re.findall(rf"{re.escape(program.name)} \(L(\d+)\)", message)
    return {
        "raised": bool(message),
        "operation": operation[1] if operation else None,
        "line": text_at(program, int(lines[-1])) if lines else None,
        "seconds": seconds,
    }


def loaded(program: Path) -> Any:
    """Returns a program as a module; nothing of it runs."""
    spec = importlib.util.spec_from_file_location("program", program)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raise_numerics(program: Path) -> None:
    """Prints the error of the program under enable_check_numerics(), "" for none."""
    import tensorflow as tf

    tf.debugging.enable_check_numerics()
    message = ""
    try:
        loaded(program).main(None)
    except Exception as e:
        message = str(e) or type(e).__name__
    print(f"\n{json.dumps(message)}")


def judged(expect: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Returns what of a row is right; None where nothing definite is expected."""

    def among(what: Any, expected: Sequence[str] | None) -> bool | None:
        return None if expected is None else what in expected

    operation = (row.get("operation") or "").removeprefix("gradient of ")
    line, text = row.get("line"), expect["line_text"]
    cause = row.get("cause")
    evidence = " ".join(row.get("evidence") or ())
    chain = expect.get("chain")
    return {
        "status": among(row.get("status"), expect["status"]),
        "phase": None if expect["phase"] is None else row.get("phase") == expect["phase"],
        "step": None if expect["step"] is None else row.get("step") == expect["step"],
        "operation": among(operation, expect["operation"]),
        "line": None if text is None else bool(line) and text in line,
        # Words of the way to the operation, as the report tells it.
        "chain": None if chain is None else all(part in evidence for part in chain),
        "cause": (
            "unknown"
            if cause in (None, "unknown")
            else "right"
            if cause in expect["causes"]
            else "never"
            if cause in expect["never"]
            else "wrong"
        ),
    }


def judged_numerics(expect: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    types = set().union(*(TYPES[name] for name in expect["operation"] or ()))
    line, text = row.get("line"), expect["line_text"]
    return {
        "operation": None if not types else row.get("operation") in types,
        "line": None if text is None else bool(line) and text in line,
    }


def examine(program: Path) -> dict[str, Any]:
    return {**watched(program), "check_numerics": numerics(program)}


def share(rows: Sequence[dict[str, Any]], fact: str, value: Any = True) -> str:
    """Returns "3 of 7": how many have the fact, of those of which it is expected."""
    judged = [row[fact] for row in rows if row[fact] is not None]
    return f"{sum(1 for j in judged if j == value)} of {len(judged)}"


def names_of(results: dict[str, Any], begin: str) -> list[str]:
    """Returns the programs of the set that begins with a number."""
    later = [other for other in SETS if other > begin]
    return [
        name
        for name in results["programs"]
        if begin <= name and not any(other <= name for other in later)
    ]


def figures(results: dict[str, Any], when: str, begin: str) -> list[str]:
    found = [
        (expectation(HERE / "programs" / f"{name}.py"), results["programs"][name][when])
        for name in names_of(results, begin)
    ]
    first = sum(row.get("cause") == expect["causes"][0] for expect, row in found)
    ours = [judged(expect, row) for expect, row in found]
    theirs = [judged_numerics(expect, row["check_numerics"]) for expect, row in found]
    return [
        share(ours, "cause", "right"),
        f"{first} of {len(found)}",
        share(ours, "cause", "unknown"),
        share(ours, "cause", "wrong"),
        share(ours, "cause", "never"),
        share(ours, "status"),
        share(ours, "step"),
        share(ours, "operation"),
        share(theirs, "operation"),
        share(ours, "line"),
        share(theirs, "line"),
        share(ours, "chain"),
    ]


FIGURES = (
    "likeliest cause right",
    "of these the one that the program puts first",
    "cause *unknown*",
    "another cause, wrong",
    "a cause that must never be named",
    "status right",
    "first bad step right",
    "operation right",
    "operation right, check_numerics",
    "user's line right",
    "user's line right, check_numerics",
    "the way to the operation right",
)


def page(results: dict[str, Any]) -> str:
    """Returns docs/public.md's tables."""
    sets = [(begin, names) for begin in SETS if (names := names_of(results, begin))]
    columns = [
        figures(results, when, begin) for begin, _ in sets for when in ("first", "latest")
    ]
    heads = [
        f"{int(begin)} to {int(names[-1][:2])}, first run | today"
        for begin, names in sets
    ]
    lines = [
        f"| | {' | '.join(heads)} |",
        "|---|" + "---|" * len(columns),
        *(f"| {' | '.join(row)} |" for row in zip(FIGURES, *columns, strict=True)),
        "",
        "| program | source | right cause | first run | today |",
        "|---|---|---|---|---|",
    ]
    for name, row in results["programs"].items():
        program = HERE / "programs" / f"{name}.py"
        expect = expectation(program)
        right = " or ".join(expect["causes"])
        said = [_said(expect, row[when]) for when in ("first", "latest")]
        lines.append(f"| {name} | {source_of(program)} | {right} | {' | '.join(said)} |")
    lines += ["", *(f"- {note}" for note in results["notes"])]
    return "\n".join(lines).rstrip() + "\n"


def _said(expect: dict[str, Any], row: dict[str, Any]) -> str:
    right = judged(expect, row)
    sure = f", {row['sure']}" if row.get("sure") else ""
    words = [f"{row.get('cause') or 'none'} ({right['cause']}{sure})"]
    words += [
        f"{fact} wrong" for fact in right if fact != "cause" and right[fact] is False
    ]
    return ", ".join(words)


def track_record(results: dict[str, Any]) -> str:
    """Returns the module that holds how often the first runs' causes were right."""
    counts: dict[tuple[str, str], list[int]] = {}
    for name, rows in results["programs"].items():
        row = rows["first"]
        right = judged(expectation(HERE / "programs" / f"{name}.py"), row)["cause"]
        if right == "unknown":
            continue
        # The word came after the first half's first run; no experiment confirmed any then.
        sure = row.get("sure") or (
            "likely" if row["confidence"] >= at("likely") else "unclear"
        )
        count = counts.setdefault((family_of(row["cause"]), sure), [0, 0])
        count[0] += right == "right"
        count[1] += 1
    lines = [
        f'    ("{family}", "{sure}"): ({right}, {named}),'
        for (family, sure), (right, named) in sorted(counts.items())
    ]
    return TRACK_RECORD.format(lines="\n".join(lines))


TRACK_RECORD = '''# SPDX-License-Identifier: Apache-2.0
"""What was right at the first run on the programs after public reports; docs/public.md.

Made by `python -m tests.public.run --page`, of tests/public/results.json.
"""

from __future__ import annotations

from typing import Final

# By the cause's family and how sure it was: in how many programs it was right, of those in
# which one was named.
FIRST_RUNS: Final[dict[tuple[str, str], tuple[int, int]]] = {{
{lines}
}}
'''


def write(results: dict[str, Any]) -> None:
    MODULE.write_text(track_record(results), encoding="utf-8")
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    head, mark, _ = text.partition(
        "<!-- public: made by `python -m tests.public.run` -->\n"
    )
    PAGE.write_text(head + mark + page(results), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="numbers of programs")
    parser.add_argument("--page", action="store_true", help="the page alone")
    parser.add_argument("--fixed", action="store_true", help="the mended forms")
    parser.add_argument("--numerics", type=Path, help="one program, for its error")
    parser.add_argument(
        "--into", type=Path, help="run these files alone, with logs there"
    )
    arguments = parser.parse_args()
    if arguments.numerics:
        raise_numerics(arguments.numerics)
        return
    if arguments.into:
        run_into(arguments.into, [Path(name) for name in arguments.only])
        return
    chosen = [p for p in PROGRAMS if not arguments.only or p.name[:2] in arguments.only]
    if arguments.fixed:
        for program in chosen:
            row = watched(program, fixed=True)
            print(
                f"{program.stem}: {row.get('status')} {row.get('error', '')}", flush=True
            )
        return
    results = (
        json.loads(RESULTS.read_text(encoding="utf-8"))
        if RESULTS.exists()
        else {"programs": {}, "notes": []}
    )
    if arguments.page:
        write(results)
        return
    for program in chosen:
        row = examine(program)
        kept = results["programs"].setdefault(program.stem, {"first": row})
        kept["latest"] = row
        print(f"{program.stem}: {_said(expectation(program), row)}", flush=True)
        write(results)


if __name__ == "__main__":
    main()
