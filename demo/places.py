"""Where the demo's programs log and keep their searches, and what they print.

Nothing here is needed to use NaN Watch.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOGS = HERE / "logs"
TUNERS = HERE / "tuners"
# The same for all programs of one `make demo`; new each time, so that a second run
# starts new searches beside the old ones and resumes none.
INVOCATION = os.environ.get("DEMO_INVOCATION") or time.strftime("%Y%m%d-%H%M%S")


def log_dir(name: str) -> str:
    """Returns the log directory of one search: demo/logs/<name>/<invocation>."""
    return os.path.relpath(LOGS / name / INVOCATION)


def tuner_dir() -> str:
    """Returns KerasTuner's `directory`; its project below it is the search's name."""
    return os.path.relpath(TUNERS / INVOCATION)


def say(tuner: Any) -> None:
    """Prints what KerasTuner itself knows of its trials: all that one has without us."""
    by_status: dict[str, list[str]] = {}
    for trial_id, trial in sorted(tuner.oracle.trials.items()):
        score = "no score" if trial.score is None else f"{trial.score:.4g}"
        by_status.setdefault(trial.status, []).append(f"{trial_id}: {score}")
    for status, trials in sorted(by_status.items()):
        print(f"  KerasTuner says {status} of {len(trials)}: {', '.join(trials)}")


def aborted(error: RuntimeError) -> None:
    """Prints the exception with which KerasTuner gave up, and what it means."""
    lines = str(error).strip().splitlines() or [""]
    print(f"  KerasTuner gave up: RuntimeError: {lines[0]}")
    print(
        "  Meaning: a trial whose objective is NaN counts as failed, and after three of "
        "them in a row the whole search ends, whatever was still to be tried."
    )
