import fcntl
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.forks import Program

HERE = pathlib.Path(__file__).resolve().parent
OUTPUT = HERE.parent / "output"
# Starting TensorBoard imports TensorFlow where it is installed, and is not kept from it.
START_SECONDS = 120


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What NanWatch writes in a real search."""

    def make(root: pathlib.Path) -> None:
        run_program(
            root, str(HERE / "search.py"), str(root / "logs"), str(root / "tuner")
        )

    return made_once(tmp_path_factory, "search", make) / "logs"


def made_once(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    make: Callable[[pathlib.Path], None],
) -> pathlib.Path:
    """Returns a directory that one of the processes that run the tests fills for all."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)  # what another one began
            root.mkdir()
            make(root)
            done.touch()
    return root


def run_program(root: pathlib.Path, *arguments: str) -> None:
    """Runs a program that searches, in a process of its own that logs below `root`."""
    program = Program(list(arguments), root / "output")
    assert program.end(300) == 0, program.printed


@pytest.fixture(scope="session")
def report(logdir: pathlib.Path) -> dict[str, Any]:
    """What `tb-nanwatch report --json` prints of the same logs."""
    return read_report(logdir)


def read_report(logdir: pathlib.Path) -> dict[str, Any]:
    program = "import sys; from tb_nanwatch.reading.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "report", "--json", str(logdir)],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.fixture(scope="session")
def serve(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[pathlib.Path, str], str]]:
    """Returns a function that starts `tensorboard` once for a logdir and a loader."""
    running: dict[tuple[str, str], tuple[subprocess.Popen[bytes], str]] = {}

    def start(logdir: pathlib.Path, load_fast: str) -> str:
        key = (str(logdir), load_fast)
        if key not in running:
            log = tmp_path_factory.mktemp("tensorboard") / "log.txt"
            running[key] = _start_tensorboard(logdir, load_fast, log)
        return running[key][1]

    yield start
    for process, _ in running.values():
        process.terminate()
        process.wait(timeout=30)


def _start_tensorboard(
    logdir: pathlib.Path, load_fast: str, log: pathlib.Path
) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # With the loader in Python, whose files TensorFlow reads, it is all as it is installed.
    program = ["-m", "tensorboard.main"] if load_fast == "false" else [HERE / "board.py"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                sys.executable,
                *program,
                f"--logdir={logdir}",
                f"--load_fast={load_fast}",
                f"--port={port}",
                "--host=127.0.0.1",
                "--reload_interval=1",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            route = f"{url}/data/plugin/nanwatch/overview"
            with urllib.request.urlopen(route, timeout=10):
                return process, url
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.3)
    process.kill()
    process.wait()
    raise AssertionError(f"tensorboard did not start:\n{log.read_text()}")
