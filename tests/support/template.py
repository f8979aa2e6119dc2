"""A process that has imported Keras and KerasTuner, and whose forks run programs.

`python -m tests.support.template`: a request a line on stdin, a line on stdout that answers
it (`forks.py` asks). What is imported computes nothing before the fork, so that a fork is
what a new process is after the same imports, which take four seconds of a core.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import keras_tuner

import tb_nanwatch

IMPORTED = (keras, keras_tuner, tb_nanwatch)


class Children:
    """The forks, by their pids; how each ended."""

    def __init__(self) -> None:
        self._codes: dict[int, int | None] = {}

    def add(self, pid: int) -> int:
        self._codes[pid] = None
        return pid

    def poll(self, pid: int) -> int | None:
        """Returns the exit code, None of one that runs."""
        if self._codes[pid] is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._codes[pid] = os.waitstatus_to_exitcode(status)
        return self._codes[pid]

    def kill(self, pid: int) -> None:
        if self.poll(pid) is None:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._codes[pid] = os.waitstatus_to_exitcode(status)

    def kill_all(self) -> None:
        for pid in self._codes:
            self.kill(pid)


def become(job: dict[str, Any]) -> None:
    """Runs a program here as Python does, with its output in a file."""
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for mine, its in ((0, nothing), (1, output), (2, output)):
        os.dup2(its, mine)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    program, *arguments = job["arguments"]
    if program == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [program, *arguments]
        sys.path[0] = str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")


def main() -> None:
    children = Children()
    # What is imported, or a fork, prints: no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Line by line: what was read ahead would be a fork's, too.
    while line := sys.stdin.readline():
        what, value = json.loads(line)
        if what == "start":
            pid = os.fork()
            if pid == 0:
                answers.close()
                become(value)
                return  # and ends as any program does
            answer: int | None = children.add(pid)
        elif what == "poll":
            answer = children.poll(value)
        else:
            answer = children.kill(value)
        print(json.dumps(answer), file=answers, flush=True)
    children.kill_all()


if __name__ == "__main__":
    main()
