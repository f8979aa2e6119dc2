# SPDX-License-Identifier: Apache-2.0
"""A progress bar for long work, shown only on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import IO

# Receives the task, the amount done and the total; None where the total is unknown.
Tell = Callable[[str, int, int | None], None]


def untold(what: str, done: int, total: int | None) -> None:
    """Shows no progress; used where the output is not a terminal."""


def is_terminal(out: IO[str]) -> bool:
    """Returns whether `out` is a terminal."""
    try:
        return out.isatty()
    except (AttributeError, ValueError):
        return False


@contextlib.contextmanager
def bar(stream: IO[str]) -> Iterator[Tell]:
    """Draws a bar while the block lasts, and takes it away.

    Args:
        stream: where to; nothing is drawn unless it is a terminal, and rich is there.
    """
    if not is_terminal(stream):
        yield untold
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:
        yield untold
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        console=Console(file=stream),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as drawn:
        task = drawn.add_task("", total=None)

        def tell(what: str, done: int, total: int | None) -> None:
            drawn.update(task, description=what, completed=done, total=total)

        yield tell
