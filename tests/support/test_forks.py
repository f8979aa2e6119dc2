"""A fork is what a program of its own is: its arguments, its output, its end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.forks import Program


def started(text: str, path: Path, *arguments: str) -> Program:
    program = path / "program.py"
    program.write_text(text, encoding="utf-8")
    environment = {"NANWATCH_OF_THE_FORK": "here"}
    return Program([str(program), *arguments], path / "output", environment, path)


def test_it_runs_as_python_runs_it(tmp_path: Path) -> None:
    program = started(
        "import atexit, os, sys\n"
        "atexit.register(print, 'last')\n"
        "print(__name__, sys.argv[1:], os.environ['NANWATCH_OF_THE_FORK'], os.getcwd())\n"
        "print(repr(sys.stdin.read()), sys.path[0])\n",
        *(tmp_path, "a", "b"),
    )
    assert program.end(60) == 0, program.printed
    first, second, last = program.printed.splitlines()
    assert first == f"__main__ ['a', 'b'] here {tmp_path}"
    assert (second, last) == (f"'' {tmp_path}", "last")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, ""),
    ],
)
def test_how_it_ends_is_told(text: str, code: int, said: str, tmp_path: Path) -> None:
    program = started(text, tmp_path)
    assert program.end(60) == code and said in program.printed
    assert program.poll() == code


def test_one_that_does_not_end_is_told_and_killed(tmp_path: Path) -> None:
    program = started("print('begun', flush=True)\nwhile True: pass", tmp_path)
    with pytest.raises(AssertionError, match=r"not ended after 2 s; it printed:\nbegun"):
        program.end(2)
    assert program.poll() is None
    program.kill()
    assert program.poll() == -signal.SIGKILL


def test_what_it_does_stays_in_it(tmp_path: Path) -> None:
    one = started("import keras; keras.backend.set_floatx('float16')", tmp_path)
    assert one.end(60) == 0
    other = started("import keras; print(keras.backend.floatx())", tmp_path)
    assert other.end(60) == 0 and other.printed == "float32\n"
    assert "tests.support.template" not in sys.modules
