"""Runs tests of the Keras wheel in processes of their own, through crashes and hangs."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
# Not imported: that starts TensorFlow.
_keras = importlib.util.find_spec("keras")
assert _keras is not None and _keras.origin is not None
# Node ids are relative to the folder that holds the package.
SITE: Final = Path(_keras.origin).resolve().parents[1]
GRAPH: Final = "graph"
GPU: Final = "gpu"
MODES: Final = (GRAPH, GPU)
NANWATCH: Final = "tb_nanwatch:NanWatch"
# No test of Keras takes as long, XLA's compilation included.
_SILENT_SECONDS: Final = 420.0
_MAX_CRASHES: Final = 20
# pytest's: all passed, some failed, interrupted by what cannot be imported, none left.
_ORDERLY: Final = (0, 1, 2, 5)


def run(
    what: Sequence[str],
    out: Path,
    *,
    mode: str = GRAPH,
    callback: str = "",
    ids: Sequence[str] | None = None,
) -> Path:
    """Runs tests once and returns `out`, which tests/peers/compare.py reads.

    Args:
        what: modules or ids, relative to `SITE`.
        out: the plugin's file; what it tells of already is not run again.
        mode: of `MODES`.
        callback: put into every fit, as "module:class".
        ids: tests to keep; None keeps all whose text names a fit.
    """
    if _last(out).get("kind") == "done":
        return out
    options = [f"--peers-out={out}"]
    if ids is None:
        options.append("--peers-may-fit")
    else:
        chosen = out.with_suffix(".ids")
        chosen.write_text("\n".join(ids), encoding="utf-8")
        options.append(f"--peers-ids={chosen}")
    if callback:
        options.append(f"--peers-callback={callback}")
    if mode == GPU:
        options.append("--peers-gpu-default")
    for _ in range(_MAX_CRASHES):
        code, hung = _process([*options, *what], out)
        if not hung and code in _ORDERLY:
            _append(out, {"kind": "done"})
            return out
        _bury(out, "hung" if hung else f"crashed with exit status {code}")
    raise RuntimeError(f"{_MAX_CRASHES} processes crashed; see {out.with_suffix('.txt')}")


def pytest_command(options: Sequence[str]) -> list[str]:
    """Returns the command that runs tests of the wheel under the plugin."""
    return [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-p", "tests.peers.plugin", "-c", str(ROOT / "tests" / "peers" / "wheel.ini")),
        *(f"--rootdir={SITE}", "--continue-on-collection-errors", "--tb=short"),
        *options,
    ]


def environment() -> dict[str, str]:
    """Returns the environment in which two processes can do the same."""
    return os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _process(arguments: list[str], out: Path) -> tuple[int, bool]:
    """Returns the exit status of one process, and whether it had to be killed."""
    with open(out.with_suffix(".txt"), "ab") as said:
        process = subprocess.Popen(
            pytest_command(arguments),
            cwd=SITE,
            env=environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    size, since = -1, time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(0.2)
            now = out.stat().st_size if out.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > _SILENT_SECONDS:
                return -1, True
        return process.returncode, False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _bury(out: Path, how: str) -> None:
    """Notes of the test under which a process ended that this was its outcome."""
    last = _last(out)
    if last.get("kind") not in ("begin", "fit", "outcome"):
        text = out.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"pytest {how} outside of a test:\n{text[-3000:]}")
    outcome = {"kind": "outcome", "when": "process", "outcome": how, "words": ""}
    _append(out, outcome | {"id": last["id"]})
    _append(out, {"kind": "end", "id": last["id"]})


def _last(out: Path) -> dict[str, Any]:
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return dict(json.loads(lines[-1])) if lines else {}


def _append(out: Path, record: dict[str, Any]) -> None:
    with open(out, "a", encoding="utf-8") as f:
        f.write(json.dumps(record) + "\n")
