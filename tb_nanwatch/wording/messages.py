# SPDX-License-Identifier: Apache-2.0
"""Shortens exceptions' messages: removes stack dumps and names that frameworks add; pure."""

from __future__ import annotations

import re
from typing import Final

from tb_nanwatch.record.strict_json import text_of

MAX_SAID: Final = 300
_MAX_READ: Final = 100_000  # a traceback and its message; more is not looked at

_NOISE: Final = re.compile(
    r"\{\{function_node [^{}]*\}\}\s*"
    # "[[{{node a}}]]", and "[[a/_10]]" of an edge.
    r"|\[\[\{\{[^{}\n]*\}\}(?: = [^\n]*)?\]\]|\[\[[\w.-]+/_\d+\]\]"
    # What ends a message: the operation, and the name that it was given.
    r"|\[Op:[^\]]*\](?:[ \t]*name:[^\n]*)?"
    r"|\x1b\[[0-9;]*m"
)
_INLINE_NODE: Final = re.compile(r"\{\{node ([^{}]*)\}\}")
# TensorFlow's account of where an operation was made, and counts of nothing.
_NO_NEWS: Final = re.compile(
    r"Graph execution error:|Detected at node .*|\s+File \".*|<stack traces unavailable>"
    r"|Node: '.*'|\d+ root error\(s\) found\.|\d+ successful operations\."
    r"|\d+ derived errors ignored\."
)
_NUMBERED: Final = re.compile(r"\(\d+\)\s+[A-Z_]+:\s*")
_WHERE: Final = re.compile(r"Exception encountered when calling (.+?)\.?")
# A list of all labels in the batch, after the one that is out of range.
_LABELS: Final = re.compile(r"\s+Label values: .*")
# How Python joins the tracebacks of exceptions that were raised one from the other.
_CHAINED: Final = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred|The "
    r"above exception was the direct cause of the following exception):\n\n"
)


def without_noise(message: str) -> str:
    """Returns an exception's message without TensorFlow's names and stack dumps."""
    text = _INLINE_NODE.sub(r"\1", _NOISE.sub("", message[:_MAX_READ]))
    lines = [line.rstrip() for line in text.splitlines() if not _NO_NEWS.fullmatch(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def useful(message: str, limit: int = MAX_SAID) -> str:
    """Returns the first line of an exception's message that says what was wrong.

    Args:
        message: the exception's, as `str` gives it.
        limit: characters; what is longer ends with an ellipsis.

    Returns:
        One line, or "" where nothing is left.
    """
    lines = [line.strip() for line in without_noise(message).splitlines()]
    lines = [line for line in lines if re.search(r"\w", line)]
    where = _WHERE.fullmatch(lines[0]) if len(lines) > 1 else None
    if where is not None:  # Keras says in the next line what happened there
        lines = lines[1:]
    if not lines:
        return ""
    said = _LABELS.sub("", _NUMBERED.sub("", lines[0]))
    if said.endswith(":") and len(lines) > 1:
        said = f"{said} {lines[1]}"
    said = " ".join(said.split())
    if where is not None:
        said = f"{said.rstrip('.')} (when calling {where[1]})"
    return said if len(said) <= limit else said[: limit - 1].rstrip() + "…"


def of_exception(kind: str, message: str, limit: int = MAX_SAID) -> str:
    """Returns "ValueError: units must be positive", or the type alone.

    Args:
        kind: the exception's type, with or without its module.
        message: the exception's, as `str` gives it.
        limit: characters of the message.
    """
    said = useful(message, limit)
    name = kind.rpartition(".")[2]
    return f"{name}: {said}" if said else name


def of_error(error: BaseException, limit: int = MAX_SAID) -> str:
    """Returns the same of an exception that was caught."""
    return of_exception(type(error).__name__, text_of(error), limit)


def of_traceback(traceback: str, limit: int = MAX_SAID) -> str:
    """Returns the same of the last exception in a formatted traceback.

    Args:
        traceback: as `traceback.format_exc()` gives it, and KerasTuner keeps it.
        limit: characters of the message.
    """
    kind, message = split(traceback)
    return of_exception(kind, message, limit) if kind else useful(message, limit)


def split(traceback: str) -> tuple[str, str]:
    """Returns type, without its module, and message of a traceback's last exception.

    The type is "" where the text is no traceback.
    """
    last = _CHAINED.split(traceback[-_MAX_READ:].strip())[-1]
    # Frames are indented; the first line after them that is not begins the exception.
    found = re.search(
        r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*([\w.]+)(?:: ?|$)",
        last,
        re.MULTILINE,
    )
    if found is None:
        found = re.match(r"([\w.]*\w(?:Error|Exception|Exit|Interrupt))(?:: |$)", last)
    if found is None:
        return "", last
    return found[1].rpartition(".")[2], last[found.end() :].strip()
