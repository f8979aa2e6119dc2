# SPDX-License-Identifier: Apache-2.0
"""schema.gen.ts: the words of the log, and the types of all that is sent."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import types
import typing

from generator.classes import classes, hints_of, said_of
from tb_nanwatch.record import metadata, schema
from tb_nanwatch.wording.places import KIND_TEXT
from tb_nanwatch.wording.statuses import STATUS_MEANING, STATUS_TEXT

UNIONS = ("State", "Status", "Misread", "Phase", "Kind", "HParamType")
# Tuples whose order or membership the browser relies on; with the union that the
# members belong to, where there is one.
TUPLES = {
    "STATES": "State",
    "STATUSES": "Status",
    "BAD_STATUSES": "Status",
    "MISREADS": "Misread",
    "PHASES": "Phase",
    "KINDS": "Kind",
    "PERSISTENT_KINDS": "Kind",
    "CAUSES": None,
    "RANGE_COLUMNS": None,
    "COUNT_COLUMNS": None,
    "LANE_SERIES": None,
    "LOOKED_SERIES": "LaneSeries",
}
MEMBER_TYPES = {
    "CAUSES": "Cause",
    "RANGE_COLUMNS": "RangeColumn",
    "COUNT_COLUMNS": "CountColumn",
    "LANE_SERIES": "LaneSeries",
}


def union_of(hint: object) -> str | None:
    """Returns the name of a union of words, None where a type is none."""
    return next((n for n in UNIONS if hint == getattr(schema, n)), None)


def typescript(hint: object) -> str:
    """Returns the TypeScript type of a dataclass field's type."""
    name = union_of(hint)
    if name is not None:
        return name
    if hint == schema.JSONScalar:
        return "JSONScalar"
    if hint is typing.Any:
        return "unknown"
    plain = {int: "number", float: "number", bool: "boolean", str: "string"}
    if hint in plain:
        return plain[hint]
    if hint is type(None):
        return "null"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint.__name__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        item = typescript(args[0])
        return f"({item})[]" if "|" in item else f"{item}[]"
    if origin is tuple:
        return f"[{', '.join(map(typescript, args))}]"
    if origin is dict:
        return f"Record<string, {typescript(args[1])}>"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(typescript(a) for a in args)
    raise TypeError(f"no TypeScript type for {hint!r}: teach typescript() about it")


def generate() -> str:
    """Returns the file."""
    lines = [
        "// Generated from tb_nanwatch/record/schema.py and reading/contract. Do not edit.",
        "",
        f"export const SCHEMA_VERSION = {schema.SCHEMA_VERSION};",
        f"export const PLUGIN_NAME = {json.dumps(metadata.PLUGIN_NAME)};",
        "",
        "export type JSONScalar = null | boolean | number | string;",
    ]
    for name in UNIONS:
        words = typing.get_args(getattr(schema, name))
        lines.append(f"export type {name} = {' | '.join(map(json.dumps, words))};")
    lines.append("")
    for name, union in TUPLES.items():
        values = json.dumps(list(getattr(schema, name)))
        if union is not None:
            lines.append(f"export const {name}: readonly {union}[] = {values};")
        else:
            lines.append(f"export const {name} = {values} as const;")
            lines.append(f"export type {MEMBER_TYPES[name]} = (typeof {name})[number];")
    for cls in classes():
        lines += ["", f"export interface {cls.__name__} {{"]
        said = said_of(cls)
        for name, hint in hints_of(cls).items():
            lines += _comment(said[name])
            lines.append(f"  {name}: {typescript(hint)};")
        lines.append("}")
    words = json.dumps(KIND_TEXT)
    lines += ["", "/** What stands before a tensor's name, where it is not its kind. */"]
    lines.append(f"export const KIND_TEXT: Partial<Record<Kind, string>> = {words};")
    for name, said, texts in (
        ("STATUS_TEXT", "What a status is called.", STATUS_TEXT),
        ("STATUS_MEANING", "What a status means.", STATUS_MEANING),
    ):
        words = json.dumps(texts)
        lines += ["", f"/** {said} */"]
        lines.append(f"export const {name}: Record<Status, string> = {words};")
    # A declaration is all that the tab knows of a hyperparameter.
    lines += ["", "export type HParam = SpaceHParam;"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    """Returns the description of a field as a comment."""
    found = textwrap.wrap(text.replace("*/", "* /"), 90)
    if len(found) < 2:
        return [f"  /** {line} */" for line in found]
    return ["  /**", *(f"   * {line}" for line in found), "   */"]
