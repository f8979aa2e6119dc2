"""Writes src/api/schema.gen.ts: what the browser knows of tb_nanwatch/record/schema.py.

python generate_schema.py           write the file
python generate_schema.py --check   fail where the file is out of date
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import pathlib
import sys
import types
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tb_nanwatch.record import metadata
from tb_nanwatch.record import schema

TARGET = HERE / "src" / "api" / "schema.gen.ts"

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
RECORD_PARTS = (
    schema.Condition,
    schema.HParam,
    schema.Search,
    schema.Boundary,
    schema.Lineage,
    schema.Probe,
    schema.Position,
    schema.BadTensor,
    schema.Episode,
    schema.Operand,
    schema.Source,
    schema.Link,
    schema.Since,
    schema.Outlier,
    schema.Experiment,
    schema.PostMortem,
)
# The server alone makes edits.
NOT_SENT = {(schema.HParam, "declared")}
MEMBER_TYPES = {
    "CAUSES": "Cause",
    "RANGE_COLUMNS": "RangeColumn",
    "COUNT_COLUMNS": "CountColumn",
    "LANE_SERIES": "LaneSeries",
}


def typescript(hint: object) -> str:
    """Returns the TypeScript type of a dataclass field's type."""
    for name in UNIONS:
        if hint == getattr(schema, name):
            return name
    if hint == schema.JSONScalar:
        return "JSONScalar"
    if hint in (int, float):
        return "number"
    if hint is bool:
        return "boolean"
    if hint is str:
        return "string"
    if hint is type(None):
        return "null"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint.__name__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        item = typescript(args[0])
        return f"({item})[]" if "|" in item else f"{item}[]"
    if origin is dict:
        return f"Record<string, {typescript(args[1])}>"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(typescript(a) for a in args)
    raise TypeError(f"no TypeScript type for {hint!r}: teach typescript() about it")


def generate() -> str:
    lines = [
        "// Generated from tb_nanwatch/record/schema.py by generate_schema.py. Do not edit.",
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
    for cls in RECORD_PARTS:
        hints = typing.get_type_hints(cls)
        lines += ["", f"export interface {cls.__name__} {{"]
        lines += [
            f"  {f.name}: {typescript(hints[f.name])};"
            for f in dataclasses.fields(cls)
            if (cls, f.name) not in NOT_SENT
        ]
        lines.append("}")
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    text = generate()
    if "--check" not in argv:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    found = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if found == text:
        return 0
    sys.stderr.writelines(
        difflib.unified_diff(
            found.splitlines(True), text.splitlines(True), str(TARGET), "expected"
        )
    )
    print("schema.gen.ts is out of date: run `npm run generate`.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
