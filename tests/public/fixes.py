"""Applies the fixes that NanWatch prints, as they are worded, and trains again.

    python -m tests.public.fixes                    the programs after public reports
    python -m tests.public.fixes 03 17              these alone
    python -m tests.public.fixes --cases demo       the programs of a directory
    python -m tests.public.fixes --page             the table in docs/public.md anew

A printed fix is a claim. `fixes.json` holds for each program the text of its likeliest cause's
fix as it was last applied, and what a person changes in the program who follows it to the
letter: replacements of text, with the expression that the fix shows where it shows one. The
program is run with NanWatch, the text that is printed now is compared with the one that was
applied, and the changed program is trained to its end without NanWatch, in a process of its
own. It is mended where every loss, metric and weight of every training is finite, and where
the loss falls. A text that has changed counts as not applied until somebody applies it again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tests.public.run import HERE, PAGE, PROGRAMS, ROOT, environment, told

TABLE = HERE / "fixes.json"
BEGIN = "<!-- fixes: made by `python -m tests.public.fixes` -->\n"
END = "<!-- fixes: end -->\n"
# Of a training's steps, at its beginning and at its end, over which a loss is the mean.
SHARE = 0.1
WORKER = "print-losses-of"

Row: TypeAlias = dict[str, Any]


# --- Training, without NanWatch ------------------------------------------------------


def losses(program: Path, arguments: Sequence[str]) -> list[Row]:
    """Trains a program without NanWatch and returns of each `fit` what came of it.

    Each row holds "finite", and "first" and "last", the means of the loss over the first
    and the last tenth of the steps. A program that begins nothing of itself has `build`,
    `data` and `FIT`, the arguments of its `fit`.
    """
    import keras

    stub = types.ModuleType("tb_nanwatch")
    stub.NanWatch = type(  # type: ignore[attr-defined]
        "NanWatch", (keras.callbacks.Callback,), {"__init__": _without_arguments}
    )
    sys.modules["tb_nanwatch"] = stub
    found: list[Row] = []
    fit = keras.Model.fit

    def observed(model: Any, *args: Any, **more: Any) -> Any:
        steps: list[float] = []
        told: list[float] = []
        spy = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda _, logs: steps.append(_loss(logs)),
            on_epoch_end=lambda _, logs: told.extend(map(float, logs.values())),
        )
        more["callbacks"] = [*(more.get("callbacks") or []), spy]
        try:
            return fit(model, *args, **more)
        finally:
            weights = [w.numpy().astype("float64").ravel() for w in model.weights]
            numbers = [*steps, *told, *(float(abs(w).sum()) for w in weights)]
            finite = all(math.isfinite(number) for number in numbers)
            found.append({"finite": bool(steps) and finite, **_ends(steps)})

    keras.Model.fit = observed
    with tempfile.TemporaryDirectory() as logs:
        sys.argv = [str(program), logs, *arguments]
        module = runpy.run_path(str(program), run_name="__main__")
    if not found and "build" in module:
        keras.utils.set_random_seed(0)
        model, (x, y) = module["build"](), module["data"]()
        model.fit(x, y, verbose=0, **module["FIT"])
    return found


def _loss(logs: dict[str, Any]) -> float:
    """Returns a step's loss; of a step that calls none so, the first number it tells."""
    return float(logs["loss"] if "loss" in logs else next(iter(logs.values())))


def _without_arguments(self: Any, *_: Any, **__: Any) -> None:
    super(type(self), self).__init__()


def _ends(steps: Sequence[float]) -> Row:
    """Returns the loss at the beginning and at the end of a training.

    Args:
        steps: what Keras tells after each step: the mean since the epoch began, which is
            near enough at the beginning; at the end a step's own loss is taken out of it.
    """
    count = max(1, int(SHARE * len(steps)))
    if len(steps) <= count:
        return {"first": None, "last": None}
    first = sum(steps[:count]) / count
    return {"first": first, "last": sum(steps[-count:]) / count}


def trained(program: Path, changed: str, arguments: Sequence[str] = ()) -> Row:
    """Returns what a program does with its source changed: "finite", "learns", the losses.

    Of several trainings (a search's trials) all have to be finite, and the losses of all
    to fall; the losses that are told are those of the one whose fell least.
    """
    with tempfile.TemporaryDirectory() as directory:
        beside(program, directory)
        path = Path(directory) / program.name
        path.write_text(changed, encoding="utf-8")
        where = os.pathsep.join([str(ROOT), directory])
        done = subprocess.run(
            [sys.executable, "-m", "tests.public.fixes", WORKER, str(path), *arguments],
            cwd=directory,
            env={**environment(), "PYTHONPATH": where},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOSSES ")]
    if done.returncode or not lines:
        error = (done.stderr.strip().splitlines() or ["nothing was trained"])[-1]
        return {"finite": False, "learns": False, "error": error[:200]}
    fits = json.loads(lines[-1].removeprefix("LOSSES "))
    finite = bool(fits) and all(fit["finite"] for fit in fits)
    if not finite:
        return {"finite": False, "learns": False}
    least = max(fits, key=lambda fit: fit["last"] / fit["first"] if fit["first"] else 1.0)
    return {
        "finite": True,
        "learns": all(fit["last"] < fit["first"] for fit in fits),
        "first": float(f"{least['first']:.3g}"),
        "last": float(f"{least['last']:.3g}"),
    }


# --- The fixes -----------------------------------------------------------------------


def altered(source: str, edits: Sequence[Sequence[str]]) -> str:
    """Returns a program's source with each replacement made, which must be possible once.

    Raises:
        ValueError: what is to be replaced does not occur exactly once.
    """
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{source.count(old)} times in the program: {old!r}")
        source = source.replace(old, new)
    return source


def mended(row: Row) -> bool:
    """Returns whether the fix that is printed today was applied and mends the program."""
    ran = row.get("ran") or {}
    same = row.get("printed") == row.get("fix")
    learns = ran.get("learns") or row.get("contest", False)
    return bool(same and ran.get("finite") and learns)


def examined(program: Path, row: Row, arguments: Sequence[str] = ()) -> Row:
    """Returns the row of a program, with what is printed today and what became of it."""
    return applied(program, row, watched(program, arguments), arguments)


def applied(
    program: Path, row: Row, found: dict[str, Any], arguments: Sequence[str] = ()
) -> Row:
    """Returns the row of a program; `found` is what is told of it today."""
    row = {**row, "printed": found.get("fix"), "sure": found.get("sure")}
    row["cause"] = found.get("cause")
    if row.get("edits") is None or row["printed"] != row.get("fix"):
        return {**row, "ran": None}
    source = program.read_text(encoding="utf-8")
    return {**row, "ran": trained(program, altered(source, row["edits"]), arguments)}


def watched(program: Path, arguments: Sequence[str]) -> Row:
    """Runs a program with NanWatch and returns what the report says of its worst run."""
    with tempfile.TemporaryDirectory() as directory:
        logs = str(Path(directory) / "logs")
        begun = [program.name, logs, *arguments]
        ours = program.parent == HERE / "programs"
        if ours:  # named in the fix as from the project's directory
            begun[0] = str(program.relative_to(ROOT))
        else:
            beside(program, directory)
        if "NanWatch" not in program.read_text(encoding="utf-8"):
            begun = ["-m", "tests.public.fixes", f"{WORKER}-watched", *begun]
        subprocess.run(
            [sys.executable, *begun],
            cwd=ROOT if ours else directory,
            env={**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), directory])},
            capture_output=True,
            timeout=900,
            check=False,
        )
        return told(program, logs)


def beside(program: Path, directory: str) -> None:
    """Copies a program, and those that it may import, into a directory."""
    for path in program.parent.glob("*.py"):
        shutil.copy(path, directory)


def train_watched(program: Path, logs: str) -> None:
    """Trains a program that begins nothing of itself, with NanWatch."""
    import keras

    from tb_nanwatch import NanWatch

    keras.utils.set_random_seed(0)
    module = importlib.import_module(program.stem)
    model, (x, y) = module.build(), module.data()
    model.fit(x, y, verbose=0, callbacks=[NanWatch(logs)], **module.FIT)


# --- The table -----------------------------------------------------------------------


def table() -> Row:
    found: Row = json.loads(TABLE.read_text(encoding="utf-8"))
    return found


def _shown(fix: str | None) -> str:
    """Returns a fix without the place, for a table."""
    words = re.sub(r"^At \S+:\d+, `.*?`: ", "", fix or "none")
    return words.replace("|", "\\|")


def _in_vain(row: Row) -> bool:
    """Returns whether what is printed says of itself that it does not mend the program."""
    return (row.get("printed") or "").startswith("Not enough alone")


def _verdict(row: Row) -> str:
    ran = row.get("ran")
    if _in_vain(row):
        return "said not to"
    if row.get("edits") is None:
        return "nothing to apply"
    if ran is None:
        return "wording changed: apply again"
    if not ran["finite"]:
        return "no: not finite"
    if mended(row):
        return "yes"
    return "no: does not learn"


def _losses(row: Row) -> str:
    ran = row.get("ran") or {}
    if ran.get("first") is None:
        return ""
    return f"{ran['first']:.3g} to {ran['last']:.3g}"


def page(found: Row) -> str:
    """Returns the section of docs/public.md between its marks."""
    lines = [BEGIN]
    for group, title in (("programs", "programs"), ("cases", "other programs")):
        rows = found[group]
        named = {
            name: row
            for name, row in rows.items()
            if row.get("cause") not in (None, "unknown") and not _in_vain(row)
        }
        good = sum(map(mended, named.values()))
        tested = [row for row in named.values() if row["sure"] == "tested"]
        lines += [
            f"Of the {len(rows)} {title}, {len(named)} are given a fix; applied as worded, "
            f"**{good} of {len(named)}** train to their end, finite and with a falling loss "
            f"({sum(map(mended, tested))} of the {len(tested)} whose cause an experiment "
            "confirmed).",
            "",
            "| program | the fix as printed | cause is | mends it | loss |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {_shown(row.get('printed'))} | {row.get('sure') or ''} "
                f"| {_verdict(row)} | {_losses(row)} |"
                for name, row in rows.items()
            ),
            "",
        ]
    return "\n".join([*lines, *_causes(found["cases"])]) + "\n" + END


def _causes(rows: Row) -> list[str]:
    """Returns a table of the causes of the other programs, with those that are right."""
    asked = {name: row for name, row in rows.items() if row.get("right")}
    named = {name: _named(row) for name, row in asked.items()}
    counts = {
        word: list(named.values()).count(word) for word in ("right", "wrong", "unknown")
    }
    return [
        f"The likeliest cause of the {len(asked)} other programs, as last run: right in "
        f"**{counts['right']} of {len(asked)}**, wrong in {counts['wrong']}, unknown in "
        f"{counts['unknown']}.",
        "",
        "| program | right cause | named | |",
        "|---|---|---|---|",
        *(
            f"| {name} | {' or '.join(row['right'])} | {row.get('cause') or 'none'}, "
            f"{row.get('sure') or 'unclear'} | {named[name]} |"
            for name, row in asked.items()
        ),
        "",
    ]


def _named(row: Row) -> str:
    if row.get("cause") in (None, "unknown"):
        return "unknown"
    return "right" if row["cause"] in row["right"] else "wrong"


def write(found: Row) -> None:
    TABLE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    if BEGIN in text:
        before, rest = text.split(BEGIN, 1)
        text = before + page(found) + rest.split(END, 1)[1]
        PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    if sys.argv[1:2] == [WORKER]:
        print("LOSSES " + json.dumps(losses(Path(sys.argv[2]), sys.argv[3:])))
        return
    if sys.argv[1:2] == [f"{WORKER}-watched"]:
        train_watched(Path(sys.argv[2]), sys.argv[3])
        return
    parser = argparse.ArgumentParser(description="Applies printed fixes and trains.")
    parser.add_argument("numbers", nargs="*", help="programs, e.g. 05, or names of cases")
    parser.add_argument("--cases", type=Path, help="a directory of other programs")
    parser.add_argument("--page", action="store_true", help="the table anew")
    arguments = parser.parse_args()
    found = table()
    group = "cases" if arguments.cases else "programs"
    paths = PROGRAMS
    if arguments.cases:
        known = [arguments.cases.resolve() / f"{name}.py" for name in found["cases"]]
        paths = [path for path in known if path.exists()]
    chosen = tuple(arguments.numbers)
    for path in [] if arguments.page else paths:
        if chosen and not path.name.startswith(chosen):
            continue
        row = found[group].get(path.stem, {})
        row = examined(path, row, row.get("arguments", ()))
        found[group][path.stem] = row
        print(f"{path.stem}: {_verdict(row)} {_losses(row)}", flush=True)
        if row.get("printed") != row.get("fix"):
            print(f"  printed: {row['printed']}")
        write(found)
    write(found)


if __name__ == "__main__":
    main()
