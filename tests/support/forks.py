"""Programs that train, each in a process of its own that need not import TensorFlow again."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class _Template:
    """The process of which all are forks."""

    def __init__(self) -> None:
        # Each process at most one core: there may be no more than two.
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.template"],
            cwd=ROOT,
            env=os.environ | quiet | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, value: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([what, value]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the template ended with {self._process.wait()}"
        return json.loads(answer)

    def close(self) -> None:
        """Ends it, and all that still run."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@functools.cache
def _template() -> _Template:
    """One for all tests that this process runs."""
    made = _Template()
    atexit.register(made.close)
    return made


class Program:
    """A running program.

    Args:
        arguments: of Python: a program's path or "-m" and a module, and what these take.
        output: file for what it prints. Through a pipe that nobody reads until another
            process has ended, a progress bar of 64 kB, which is what a slow machine
            prints, stops the process for good.
        environment: beside that of this process.
        folder: in which it runs.
    """

    def __init__(
        self,
        arguments: list[str],
        output: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self._output = output
        job = {
            "arguments": arguments,
            "output": str(output),
            "environment": dict(os.environ) | dict(environment or {}),
            "folder": str(folder),
        }
        self._pid = _template().ask("start", job)

    @property
    def printed(self) -> str:
        if not self._output.exists():
            return ""
        return self._output.read_text(errors="replace")

    def poll(self) -> int | None:
        """Returns the exit code, None while it runs."""
        code: int | None = _template().ask("poll", self._pid)
        return code

    def end(self, seconds: float) -> int:
        """Returns the exit code; where none comes in time, fails with what was printed."""
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                said = self.printed[-4000:]
                name = self._output.name
                raise AssertionError(
                    f"{name}: not ended after {seconds:g} s; it printed:\n{said}"
                )
            time.sleep(0.05)
        return code

    def kill(self) -> None:
        _template().ask("kill", self._pid)
