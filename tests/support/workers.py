"""The processes of a distributed search of KerasTuner's: a chief and its workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Returns a port on which nobody listens now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """One process, whose output goes to a file.

    Through a pipe that nobody reads until another process has ended, a progress bar of
    64 kB, which is what a slow machine prints, stops the process for good.
    """

    def __init__(
        self, name: str, module: str, port: int, path: Path, *how: int | str
    ) -> None:
        environment = os.environ | {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            # Each process at most one core: there may be no more than two.
            "OMP_NUM_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
        }
        self._output = path / f"{name}-{port}.output"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(path), *map(str, how)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._output.read_text(errors="replace")

    def end(self, seconds: float) -> int:
        """Returns the exit code; where none comes in time, fails with the process's output."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self._output.name}: not ended after {seconds:g} s; it printed:\n"
                + self.printed[-4000:]
            ) from None

    def until(self, there: Callable[[], bool], seconds: float = 120) -> None:
        """Waits until a condition holds that the process is to bring about."""
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, self.printed[-4000:]
            assert self._process.poll() is None, self.printed
            time.sleep(0.1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Processes:
    """Starts processes of one search, and ends those still running."""

    def __init__(self, module: str, path: Path) -> None:
        self.port = free_port()
        self._module = module
        self._path = path
        self._started: list[Process] = []

    def start(self, name: str, *how: int | str) -> Process:
        self._started.append(Process(name, self._module, self.port, self._path, *how))
        return self._started[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._started:
            process.kill()
