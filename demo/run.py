"""Runs the demo's programs, prints the report, and serves TensorBoard on their logs.

`python demo/run.py` does all of it; with DEMO_SERVE=0 it ends after the report.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import places
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

# Each program and the most trials that it can run.
PROGRAMS = {
    "01_as_asked.py": 5,
    "02_unscaled_data.py": 10,
    "03_custom_loss.py": 5,
    "04_wide_search.py": 24,
    "05_plain_training.py": 1,
    "06_stability_search.py": 38,
}
# TensorFlow's start-up notes: "WARNING: All log messages before absl::...", "I0000 00:00:...".
NOISE = re.compile(r"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:")
TENSORBOARD_SAYS = re.compile(r"TensorBoard \S+ at (http://\S+)")

console = Console(highlight=False, soft_wrap=True)


def environment() -> dict[str, str]:
    """Returns the environment of the programs: CPU only, one invocation, no noise."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        **os.environ,
        "DEMO_INVOCATION": places.INVOCATION,
        "PYTHONUNBUFFERED": "1",
    }


def trials_begun() -> int:
    """Returns how many trials this invocation has begun, as KerasTuner's files say."""
    return sum(1 for _ in (places.TUNERS / places.INVOCATION).glob("*/trial_*"))


def run_program(name: str, progress: Progress) -> bool:
    """Runs one program, its output above the bar; returns whether it ended well."""
    title = (places.HERE / name).read_text(encoding="utf-8").split('"""', 2)[1].strip()
    console.print(f"\n[bold]{name}[/bold]  {title}")
    task = progress.add_task(name, total=PROGRAMS[name])
    before = trials_begun()
    process = subprocess.Popen(
        [sys.executable, str(places.HERE / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
    )
    ended = threading.Event()

    def follow_trials() -> None:
        while not ended.wait(0.3):
            progress.update(task, completed=max(trials_begun() - before - 1, 0))

    watcher = threading.Thread(target=follow_trials, daemon=True)
    watcher.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if not NOISE.match(line):
                console.print(line.rstrip(), markup=False)
        code = process.wait()
    finally:
        process.kill()
        ended.set()
        watcher.join()
    progress.remove_task(task)
    if code != 0:
        console.print(f"[bold red]{name} ended with exit status {code}[/bold red]")
    return code == 0


def print_report() -> bool:
    """Prints `tb-nanwatch report` on all of the demo's logs."""
    logs = os.path.relpath(places.LOGS)
    console.print(f"\n[bold]tb-nanwatch report {logs}[/bold]")
    command = "from tb_nanwatch.reading.cli import main; raise SystemExit(main())"
    report = subprocess.run(
        [sys.executable, "-c", command, "report", logs], env=environment(), check=False
    )
    return report.returncode == 0


def serve() -> int:
    """Starts TensorBoard on the demo's logs; returns its exit status when it ends."""
    logs = os.path.relpath(places.LOGS)
    console.print(f"\n[bold]tensorboard --logdir {logs}[/bold]")
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", logs],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment(),
    )
    said: deque[str] = deque(maxlen=30)
    address = None
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.rstrip())
            match = TENSORBOARD_SAYS.search(line)
            if match is not None and address is None:
                address = match[1]
                console.print(f"NaN Watch is at {address}#nanwatch  (Ctrl+C ends it)")
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return 0
    if address is None:
        console.print("TensorBoard did not start:\n" + "\n".join(said), markup=False)
    return code


def main() -> int:
    """Runs everything; returns 0 unless a program or the report failed."""
    if Path.cwd() != places.HERE.parent:
        os.chdir(places.HERE.parent)
    started = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials"),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            overall = progress.add_task("all programs", total=sum(PROGRAMS.values()))
            well = []
            for name, trials in PROGRAMS.items():
                well.append(run_program(name, progress))
                progress.advance(overall, trials)
        console.print(f"\nThe searches took {time.monotonic() - started:.0f} seconds.")
        well.append(print_report())
    except KeyboardInterrupt:
        console.print("interrupted; `tb-nanwatch report demo/logs` shows what there is")
        return 130
    if os.environ.get("DEMO_SERVE", "1") != "0" and serve() != 0:
        return 1
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
