"""Compares a seed's training with and without NaN Watch, and counts over many seeds."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from tests.identity.architectures import Spec, draw
from tests.identity.faults import inject
from tests.identity.training import (
    MODES,
    Difference,
    Mode,
    NotCompiledError,
    Trained,
    differences,
    train,
)
from tests.support.garbage import set_graphs_aside

Outcome = Literal["identical", "differs", "left out", "failed"]


@dataclass
class Result:
    """What came of one seed in one mode.

    Attributes:
        outcome: "left out" where plain Keras itself cannot train, or not twice alike.
        why: of what was left out or failed.
        differs: what differs, in words that do not depend on the machine.
        first: the first difference.
        largest: relative, of all differences.
        wrong: what NaN Watch said or recorded and should not have.
        fault: "found", "missed" or "left out" (plain training does not survive it, or
            goes bad before it); "" where none was injected.
        fault_said: what was expected of the fault, and what was found.
        features: of the spec.
    """

    seed: int
    mode: Mode
    outcome: Outcome
    why: str = ""
    differs: list[str] = field(default_factory=list)
    first: str = ""
    largest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    fault: str = ""
    fault_said: str = ""
    features: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of the processor


def compare(spec: Spec, mode: Mode) -> tuple[Result, list[Difference]]:
    """Trains plain, watched, where the two differ plain once more, and with a fault."""
    began = time.process_time()
    result, found = _compared(spec, mode)
    if result.outcome in ("identical", "differs") or result.wrong:
        _inject(result, spec, mode)
    result.features = sorted(spec.features())
    result.seconds = round(time.process_time() - began, 1)
    return result, found


def _compared(spec: Spec, mode: Mode) -> tuple[Result, list[Difference]]:
    try:
        plain = train(spec, mode)
    except NotCompiledError:
        return Result(spec.seed, mode, "left out", "not compiled by Keras"), []
    except Exception as e:
        why = f"plain training raises {type(e).__name__}"
        return Result(spec.seed, mode, "left out", why, first=str(e)[:300]), []
    with tempfile.TemporaryDirectory() as log_dir:
        try:
            watched = train(spec, mode, Path(log_dir))
        except Exception as e:
            said = f"{type(e).__name__}: {str(e)[:500]}"
            return Result(
                spec.seed, mode, "failed", f"watched training raises {said}"
            ), []
    found = differences(plain, watched)
    if found and differences(plain, train(spec, mode)):
        return Result(spec.seed, mode, "left out", "plain differs from plain"), []
    result = Result(
        spec.seed,
        mode,
        "differs" if found else "identical",
        differs=sorted({d.what for d in found}),
        first=str(found[0]) if found else "",
        largest=max((d.relative for d in found), default=0.0),
        wrong=wrong(spec, plain, watched),
    )
    if result.wrong:
        result.outcome, result.why = "failed", result.wrong[0]
    return result, found


def _inject(result: Result, spec: Spec, mode: Mode) -> None:
    with tempfile.TemporaryDirectory() as log_dir:
        try:
            injected = inject(spec, mode, Path(log_dir))
        except Exception as e:
            try:
                inject(spec, mode, None)
            except Exception:
                result.fault = "left out"
            else:
                result.fault = "missed"
                result.fault_said = f"watched training raises {type(e).__name__}: {e}"
            return
    if injected is None:
        result.fault = "left out"
        return
    result.fault = "found" if injected.expected.agrees(injected.found) else "missed"
    result.fault_said = str(injected)
    if injected.said:
        result.outcome, result.wrong = "failed", [*result.wrong, *injected.said]
        result.why = result.wrong[0]


def wrong(spec: Spec, plain: Trained, watched: Trained) -> list[str]:
    """Returns what NaN Watch said or recorded of a training, and should not have."""
    finite = is_finite(plain)
    found = [s for s in watched.said if s not in plain.said] if finite else []
    log = watched.log
    if log is None or not log.all("status"):
        return [*found, "nothing was logged"]
    if not finite and log.status.status == "clean":
        found.append("non-finite without a callback, and clean with it")
    if log.status.state != "finished":
        found.append(f"the run is {log.status.state}")
    if log.status.steps != spec.executed:
        found.append(f"{log.status.steps} steps of {spec.executed} were seen")
    scaled = spec.loss_scale or spec.policy == "mixed_float16"
    if log.episodes and finite and not scaled:
        bad = log.episodes[0].tensors[0]
        found.append(
            f"false alarm at step {log.episodes[0].start.step}: {bad.kind} {bad.name}"
        )
    return found


def is_finite(trained: Trained) -> bool:
    """Whether all that is left of a training is finite."""
    values = [*(v for epoch in trained.epochs for v in epoch.values())]
    values += [np.asarray(v) for v in trained.history.values()]
    return all(np.isfinite(v.astype(np.float64)).all() for v in values)


# --- Many seeds -----------------------------------------------------------------


def run(seeds: Iterable[int], mode: Mode, out: Path | None = None) -> list[Result]:
    """Compares each seed, and says so line by line."""
    results = []
    for seed in seeds:
        result, _ = compare(draw(seed), mode)
        results.append(result)
        print(line(result), flush=True)
        set_graphs_aside()
        if out is not None:
            write(out, mode, results)
    return results


def line(result: Result) -> str:
    """Returns one line on a result."""
    said = (result.why or result.first).partition("\n")[0]
    fault = f"fault {result.fault}" if result.fault else ""
    return (
        f"{result.mode:5} {result.seed:4} {result.seconds:5.1f}s {result.outcome:9} "
        f"{fault:14} {said}"
    ).rstrip()


def bad(result: Result) -> bool:
    """Whether NaN Watch changed a training, disturbed it, or missed its fault."""
    return result.outcome in ("differs", "failed") or result.fault == "missed"


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on."""
    names = {
        text.partition(":")[2].strip()
        for text in _read("/proc/cpuinfo").splitlines()
        if text.startswith("model name")
    }
    backend = keras.backend.backend()
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        backend: metadata.version(backend),
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def write(out: Path, mode: Mode, results: list[Result]) -> None:
    """Puts a mode's results in the place of its former ones."""
    out.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    modes = known.get("modes", {})
    modes[mode] = {**counts(results), "results": [asdict(r) for r in results]}
    text = json.dumps({"machine": machine(), "modes": modes}, indent=1)
    out.write_text(text + "\n", encoding="utf-8")


def counts(results: list[Result]) -> dict[str, Any]:
    """Returns the row of a mode."""
    outcomes = Counter(r.outcome for r in results)
    return {
        "tried": len(results),
        "identical": outcomes["identical"],
        "differs": outcomes["differs"],
        "failed": outcomes["failed"],
        "left out": outcomes["left out"],
        "faults": sum(r.fault in ("found", "missed") for r in results),
        "faults found": sum(r.fault == "found" for r in results),
        "why": dict(Counter(r.why for r in results if r.outcome == "left out")),
    }


def table(out: Path) -> tuple[str, bool]:
    """Returns the table of all modes in Markdown, and whether nothing in it is bad."""
    read = json.loads(out.read_text(encoding="utf-8"))
    lines = [
        "| mode | tried | identical | differ | failed | left out | faults found |",
        "|---|---|---|---|---|---|---|",
    ]
    is_clean = True
    for mode in MODES:
        row = read["modes"].get(mode)
        if row is None:
            continue
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(row["why"].items()))
        lines.append(
            f"| {mode} | {row['tried']} | {row['identical']} | {row['differs']} | "
            f"{row['failed']} | {row['left out']}{f' ({why})' if why else ''} | "
            f"{row['faults found']} of {row['faults']} |"
        )
        is_clean &= not (row["differs"] or row["failed"])
        is_clean &= row["faults found"] == row["faults"]
    said = ", ".join(f"{k} {v}" for k, v in read["machine"].items())
    return "\n".join([*lines, "", f"Machine: {said}."]), is_clean


def features(out: Path, mode: Mode) -> list[tuple[str, int, int]]:
    """Returns (feature, how many differ, of how many), the most telling first."""
    rows = json.loads(out.read_text(encoding="utf-8"))["modes"][mode]["results"]
    compared = [r for r in rows if r["outcome"] in ("identical", "differs")]
    every, differing = Counter[str](), Counter[str]()
    for row in compared:
        every.update(row["features"])
        if row["outcome"] == "differs":
            differing.update(row["features"])
    shares = [(f, differing[f], n) for f, n in every.items() if differing[f]]
    return sorted(shares, key=lambda s: (-s[1] / s[2], -s[1], s[0]))
