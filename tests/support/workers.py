"""The processes of a distributed search of KerasTuner's: a chief and its workers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.forks import Program


def free_port() -> int:
    """Returns a port on which nobody listens now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Process(Program):
    """One of them."""

    def __init__(
        self, name: str, module: str, port: int, path: Path, *how: int | str
    ) -> None:
        environment = {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
            "TF_NUM_INTRAOP_THREADS": "1",
        }
        arguments = ["-m", module, str(path), *map(str, how)]
        super().__init__(arguments, path / f"{name}-{port}.output", environment)

    def until(self, there: Callable[[], bool], seconds: float = 120) -> None:
        """Waits until a condition holds that the process is to bring about."""
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, self.printed[-4000:]
            assert self.poll() is None, self.printed
            time.sleep(0.1)


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
