# SPDX-License-Identifier: Apache-2.0
"""decode.gen.ts: functions that turn parsed answers into the types of schema.gen.ts.

A field that is missing, or of another type, becomes its neutral value, so that a server a
little older or newer than the tab still shows what it has.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing

from generator.classes import classes, hints_of
from generator.typescript import union_of
from tb_nanwatch.record import schema

# What stands for a word that is not known.
NEUTRAL = {
    "State": "interrupted",
    "Status": "unwatched",
    "Phase": "train",
    "Kind": "activation",
    "HParamType": "text",
}
WORDS = {
    "State": "STATES",
    "Status": "STATUSES",
    "Phase": "PHASES",
    "Kind": "KINDS",
    "Misread": "MISREADS",
}
# Without these nothing can be shown.
REQUIRED = {("RunSummary", "run")}
HELPERS = (
    "at",
    "count",
    "flag",
    "list",
    "number",
    "object",
    "optional",
    "optionalObject",
    "record",
    "required",
    "scalar",
    "size",
    "text",
    "textOrNull",
    "word",
    "wordOrNull",
)


def decoder(hint: object, value: str, default: object = dataclasses.MISSING) -> str:
    """Returns an expression that decodes the expression `value`."""
    union = union_of(hint)
    if union is not None:
        words = WORDS.get(union) or json.dumps(typing.get_args(hint))
        return f"word<{union}>({value}, {words}, {json.dumps(NEUTRAL[union])})"
    if hint == schema.JSONScalar:
        return f"scalar({value} ?? null)"
    if hint is typing.Any:
        return value
    if hint is str:
        return f"text({value}, {json.dumps(default)})" if default else f"text({value})"
    if hint is bool:
        return f"{value} !== false" if default is True else f"{value} === true"
    if hint is int:
        return f"number({value}) ?? {default}" if default else f"count({value})"
    if hint is float:
        is_nan = isinstance(default, float) and math.isnan(default)
        return f"size({value})" if is_nan else f"count({value})"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"{name_of(hint)}(optionalObject({value}) ?? {{}})"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return f"list({value}, {function(args[0])})"
    if origin is tuple:
        parts = (decoder(a, f"at({value}, {i})", None) for i, a in enumerate(args))
        return f"[{', '.join(parts)}]"
    if origin is dict:
        return f"record({value}, {function(args[1])})"
    if origin in (typing.Union, types.UnionType):
        (inner,) = (a for a in args if a is not type(None))
        return _or_null(inner, value)
    raise TypeError(f"no decoder for {hint!r}: teach decoder() about it")


def _or_null(hint: object, value: str) -> str:
    union = union_of(hint)
    if union is not None:
        return f"wordOrNull<{union}>({value}, {WORDS[union]})"
    known = {str: "textOrNull", int: "number", float: "number", bool: "flag"}
    if hint in known:
        return f"{known[hint]}({value})"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"optional({value}, {name_of(hint)})"
    return f"Array.isArray({value}) ? {decoder(hint, value)} : null"


def function(hint: object) -> str:
    """Returns a function that decodes one item of a list or of a record."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return name_of(hint)
    known = {int: "count", float: "size", str: "text"}
    if hint in known:
        return known[hint]
    if hint == schema.JSONScalar:
        return "scalar"
    return f"(v) => {decoder(hint, 'v', None)}"


def name_of(cls: type) -> str:
    """Returns the decoder's name: "runSummary" of RunSummary."""
    return cls.__name__[:1].lower() + cls.__name__[1:]


def generate() -> str:
    """Returns the file."""
    body: list[str] = []
    for cls in classes():
        made = [
            f"    {name}: {_field(cls, name, hint)},"
            for name, hint in hints_of(cls).items()
        ]
        body += [
            "",
            f"export function {name_of(cls)}(value: unknown): types.{cls.__name__} {{",
            f"  const o = object(value, {json.dumps(cls.__name__)});",
            "  return {",
            *made,
            "  };",
            "}",
        ]
    text = "\n".join(body)
    helpers = [f"  {h}," for h in HELPERS if f"{h}(" in text or f", {h})" in text]
    helpers = sorted({*helpers, *(f"  {h}," for h in HELPERS if f"{h}<" in text)})
    words = sorted(w for w in WORDS.values() if f"{w}," in text or f"{w})" in text)
    unions = sorted(n for n in (*NEUTRAL, "Misread") if f"<{n}>" in text)
    return "\n".join(
        [
            "// Generated from tb_nanwatch/record/schema.py and reading/contract. Do not edit.",
            "",
            "import {",
            *helpers,
            '} from "./json";',
            'import type * as types from "./schema.gen";',
            "import {",
            *(f"  {w}," for w in words),
            *(f"  type {u}," for u in unions),
            '} from "./schema.gen";',
            text,
            "",
        ]
    )


def _field(cls: type, name: str, hint: object) -> str:
    if (cls.__name__, name) in REQUIRED:
        return f"required(o.{name}, {json.dumps(f'{cls.__name__}.{name}')})"
    fields = {f.name: f for f in dataclasses.fields(cls)}
    default = fields[name].default
    return decoder(hint, f"o.{name}", None if default is dataclasses.MISSING else default)


