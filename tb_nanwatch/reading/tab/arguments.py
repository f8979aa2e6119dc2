# SPDX-License-Identifier: Apache-2.0
"""Parses the arguments of a request, or says why they are invalid."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from werkzeug import wrappers

from tb_nanwatch.declaring.cut import Cut
from tb_nanwatch.reading.search.asked_edit import Where
from tb_nanwatch.record import schema

_SESSION_ID: Final = re.compile(r"[0-9a-f]{16}")
# Longer than any path that a file system allows.
_MAX_RUN_NAME: Final = 16_384


class BadArgumentError(ValueError):
    """An argument of a request is missing or invalid."""


def argument(
    request: wrappers.Request, name: str, expected: str, *, empty: bool = False
) -> str:
    """Returns an argument that must be given once.

    Args:
        request: the request.
        name: of the argument.
        expected: what it must be, for the error.
        empty: whether it may be empty.

    Raises:
        BadArgumentError: it is missing, is empty, or was given more than once.
    """
    values = request.args.getlist(name)
    if len(values) != 1 or not (values[0] or empty):
        received = "is missing" if not values else "is empty"
        if len(values) > 1:
            received = f"was given {len(values)} times"
        raise BadArgumentError(f"argument {name!r} {received}; expected {expected}")
    return str(values[0])


def session_of(request: wrappers.Request, prefix: str = "") -> tuple[str, str]:
    """Returns the run and the session id that a request names.

    Args:
        request: the request.
        prefix: of the arguments `run` and `session`.
    """
    run = argument(request, f"{prefix}run", "the name of a run")
    session_id = argument(request, f"{prefix}session", "a session id of the overview")
    if len(run) > _MAX_RUN_NAME:
        raise BadArgumentError(
            f"argument '{prefix}run' has {len(run)} characters; expected at most "
            f"{_MAX_RUN_NAME}"
        )
    if not _SESSION_ID.fullmatch(session_id):
        raise BadArgumentError(
            f"argument '{prefix}session' is {session_id!r:.60}; expected 16 "
            "hexadecimal digits"
        )
    return run, session_id


def phase_of(request: wrappers.Request) -> str:
    """Returns the phase that a request asks for."""
    phase = argument(request, "phase", "train or validation")
    if phase not in schema.PHASES:
        raise BadArgumentError(
            f"argument 'phase' is {phase!r:.60}; expected {' or '.join(schema.PHASES)}"
        )
    return phase


def cut_of(request: wrappers.Request) -> tuple[Cut, Where | None]:
    """Returns the cut that a request asks for, and the trials that it is for."""
    name = argument(request, "hparam", "a hyperparameter's name")
    op = argument(request, "op", "ge, le or in")
    if op == "in":
        values = _json_argument(request, "values", "a JSON list of values")
        if not isinstance(values, list) or not all(map(_is_scalar, values)):
            raise BadArgumentError("argument 'values' is no JSON list of plain values")
        return Cut(name, "in", values=tuple(values)), None
    bound = _json_argument(request, "bound", "a finite number")
    if op not in ("ge", "le") or not _is_number(bound):
        raise BadArgumentError(
            f"op={op!r:.20} and bound={bound!r:.60} are no cut; expected ge, le or in, and "
            "a finite number"
        )
    cut = Cut(name, op, float(bound))
    if "facet" not in request.args:
        return cut, None
    value = _json_argument(request, "value", "a plain value as JSON")
    if not _is_scalar(value):
        raise BadArgumentError("argument 'value' is no plain value as JSON")
    return cut, Where(argument(request, "facet", "a hyperparameter's name"), value)


def _json_argument(request: wrappers.Request, name: str, expected: str) -> Any:
    text = argument(request, name, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadArgumentError(
            f"argument {name!r} is {text!r:.60}; expected {expected}"
        ) from None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | str) or _is_number(value)
