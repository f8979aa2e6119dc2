# SPDX-License-Identifier: Apache-2.0
"""The classes that the server sends, their fields, and the fields' descriptions."""

from __future__ import annotations

import dataclasses
import re
import textwrap
import typing

from tb_nanwatch.reading.contract.comparisons import RunComparison, SearchComparison
from tb_nanwatch.reading.contract.details import Markdown, RunDetail, SpaceEdit
from tb_nanwatch.reading.contract.overview import Overview

# What a route answers with.
ROUTES = {
    "overview": Overview,
    "run": RunDetail,
    "compare_runs": RunComparison,
    "compare_searches": SearchComparison,
    "markdown": Markdown,
    "edit": SpaceEdit,
}


def hints_of(cls: type) -> dict[str, object]:
    """Returns the type of each field of a class."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def classes() -> list[type]:
    """Returns all classes that are sent, each after those that it holds."""
    found: list[type] = []

    def visit(hint: object) -> None:
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            for inner in hints_of(hint).values():
                visit(inner)
            if hint not in found:
                found.append(hint)
        for inner in typing.get_args(hint):
            visit(inner)

    for cls in ROUTES.values():
        visit(cls)
    return found


def said_of(cls: type) -> dict[str, str]:
    """Returns each field's description in the docstring of a class, inherited fields included."""
    said: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(one):
            continue
        _, _, attributes = textwrap.dedent(one.__doc__ or "").partition("Attributes:\n")
        for entry in re.findall(r"^ {8}(\S.*?)(?=^ {8}\S|\Z)", attributes, re.S | re.M):
            # One entry may name several fields, and a line several entries.
            for names, text in re.findall(
                r"((?:\w+, )*\w+): (.*?)(?=(?<=\.) (?:\w+, )*\w+: |\Z)", entry, re.S
            ):
                for name in names.split(", "):
                    said[name] = " ".join(text.split())
    return {name: said.get(name, "") for name in hints_of(cls)}
