# SPDX-License-Identifier: Apache-2.0
"""Encodes records as the elements of a string tensor, and decodes them.

A record travels as a rank-1 string tensor: element 0 is a JSON header, the
elements after it are the record's arrays, zlib-compressed, little-endian, in C
order. The header names each array's dtype and shape. JSON carries the facts that
are few and named; arrays carry what grows with the run.

Non-finite numbers are legal everywhere: in arrays as they are, in the header as
`strict_json` writes them.

Decoding trusts nothing: sizes are checked before anything is allocated, and
every failure is a `RecordError`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
import zlib
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from tb_nanwatch.errors import NewerSchemaError, RecordError
from tb_nanwatch.record.schema import (
    COUNT_COLUMNS,
    LANE_SERIES,
    RANGE_COLUMNS,
    RECORDS,
    SCHEMA_VERSION,
    AnyRecord,
    Array,
    FlightRecord,
    RangesRecord,
    StatusRecord,
)
from tb_nanwatch.record.strict_json import NONFINITE, JSONObject, dumps, json_safe

# --- Encode -------------------------------------------------------------------

# Arrays are stored as these dtypes only, so that a reader need know no others.
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "float32": np.dtype("<f4"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
}
_ARRAY_DTYPE: Final[dict[str, str]] = {
    "steps": "int64",
    "stats": "float32",
    "counts": "int64",
    "bad_steps": "int64",
    "measured": "int64",
    "rms": "float32",
    "full_steps": "int64",
    "lane": "float32",
    "lane_steps": "int64",
    "lane_seconds": "float32",
    "lane_epochs": "int32",
    "lane_loss_scale": "float32",
    "lane_skipped": "int64",
}
# Level 6 halves what level 1 leaves of these arrays at about a millisecond a record.
_ZLIB_LEVEL: Final = 6
# A record whose arrays are larger than this is a mistake or an attack; the largest
# honest one (300 buckets of 4,000 probes) is half of it. A few kB can claim to be more.
MAX_ARRAY_BYTES: Final = 1 << 27
# An episode of 100,000 tensors takes 15 MB; parsed, JSON is up to 25 times as large.
MAX_HEADER_BYTES: Final = 1 << 25


def encode(record: AnyRecord) -> list[bytes]:
    """Returns the elements of the string tensor that carries `record`."""
    header: JSONObject = {"v": SCHEMA_VERSION, "kind": record.KIND}
    arrays: JSONObject = {}
    blobs: list[bytes] = []
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if isinstance(value, np.ndarray):
            dtype = _ARRAY_DTYPE[f.name]
            array = np.ascontiguousarray(value, dtype=_DTYPES[dtype])
            arrays[f.name] = {"dtype": dtype, "shape": list(value.shape)}
            blobs.append(zlib.compress(array.tobytes(), _ZLIB_LEVEL))
        else:
            header[f.name] = json_safe(value)
    header["arrays"] = arrays
    return [dumps(header).encode("utf-8"), *blobs]


# --- Decode -------------------------------------------------------------------


def decode(elements: typing.Sequence[bytes]) -> AnyRecord:
    """Returns the record that `encode` made.

    Args:
        elements: the string tensor's elements.

    Raises:
        NewerSchemaError: the record's version is above `SCHEMA_VERSION`.
        RecordError: the bytes are not a valid record.
    """
    header = _parse_header(elements)
    version = header.get("v")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecordError(f"record has no valid schema version: {version!r:.80}")
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(version, SCHEMA_VERSION)
    kind = header.get("kind")
    cls = RECORDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise RecordError(f"unknown record kind {kind!r:.80}; expected {sorted(RECORDS)}")
    arrays = _parse_arrays(header.get("arrays"), elements[1:])
    values = {**header, **arrays}
    record = build(cls, values, cls.__name__)
    _check_shapes(record)
    _take_known_columns(record)
    return typing.cast(AnyRecord, record)


def array_bytes(record: AnyRecord) -> int:
    """Returns how many bytes the record's arrays take in memory."""
    values = (getattr(record, f.name) for f in dataclasses.fields(record))
    return sum(v.nbytes for v in values if isinstance(v, np.ndarray))


def _parse_header(elements: typing.Sequence[bytes]) -> JSONObject:
    if not elements or not isinstance(elements[0], bytes):
        raise RecordError("record is empty; expected a JSON header")
    if len(elements[0]) > MAX_HEADER_BYTES:
        raise RecordError(f"record header has {len(elements[0])} bytes; too large")
    try:
        header = json.loads(elements[0])
    except (ValueError, RecursionError) as e:
        raise RecordError(f"record header is not JSON: {e}") from None
    if not isinstance(header, dict):
        raise RecordError("record header is not a JSON object")
    return header


def _parse_arrays(spec: Any, blobs: typing.Sequence[bytes]) -> dict[str, Array]:
    if not isinstance(spec, dict) or len(spec) != len(blobs):
        raise RecordError("record's arrays do not match its header")
    arrays: dict[str, Array] = {}
    total = 0
    for (name, entry), blob in zip(spec.items(), blobs, strict=True):
        if not isinstance(entry, dict) or not isinstance(blob, bytes):
            raise RecordError(f"array {name!r:.80} is not described by its header")
        dtype = _DTYPES.get(str(entry.get("dtype")))
        shape = entry.get("shape")
        if (
            dtype is None
            or not isinstance(shape, list)
            or not 1 <= len(shape) <= 3
            or not all(type(n) is int and 0 <= n <= MAX_ARRAY_BYTES for n in shape)
        ):
            raise RecordError(f"array {name!r:.80} has no valid dtype and shape")
        size = math.prod(shape) * dtype.itemsize
        total += size
        if total > MAX_ARRAY_BYTES:
            raise RecordError(
                f"arrays up to {name!r:.80} declare {total:.3g} bytes; expected at most "
                f"{MAX_ARRAY_BYTES}"
            )
        decompress = zlib.decompressobj()
        try:
            raw = decompress.decompress(blob, size + 1)
        except zlib.error as e:
            raise RecordError(f"array {name!r:.80} cannot be decompressed: {e}") from None
        if len(raw) != size:
            raise RecordError(
                f"array {name!r:.80} has {len(raw)} bytes; expected {size} by its header"
            )
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
    return arrays


def build(cls: Any, values: Any, where: str) -> Any:
    """Builds the dataclass `cls` from parsed JSON, checking every field's type.

    Unknown fields are left out, so that a later minor addition does no harm.

    Args:
        cls: a dataclass.
        values: an object as JSON gives it.
        where: names it in messages.

    Raises:
        RecordError: a field is missing, or its value is of another type.
    """
    try:
        return _converter(cls)(values)
    except _InvalidError as e:
        raise RecordError(f"{'.'.join([where, *reversed(e.path)])} {e}") from None


# Converters are made once for each type: an overview of a thousand runs decodes a
# quarter of a million values.
_Converter: TypeAlias = typing.Callable[[Any], Any]


class _InvalidError(Exception):
    """A value is invalid; each level around it adds its own part of the path."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []


def _no(value: Any) -> Any:
    raise _InvalidError(f"has the invalid value {value!r:.80}")


@functools.cache
def _converter(hint: Any) -> _Converter:
    """Returns a function that checks a parsed JSON value and converts it to the type `hint`."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return lambda value: value
    if origin is Literal:
        words = frozenset(typing.get_args(hint))
        return lambda v: v if isinstance(v, str) and v in words else _no(v)
    if origin in (typing.Union, types.UnionType):
        return _union_converter(hint)
    if origin is list:
        item = _converter(typing.get_args(hint)[0])
        return lambda v: [item(i) for i in v] if isinstance(v, list) else _no(v)
    if origin is dict:
        of = _converter(typing.get_args(hint)[1])
        return lambda v: (
            {k: of(i) for k, i in v.items()} if isinstance(v, dict) else _no(v)
        )
    if dataclasses.is_dataclass(hint):
        return _object_converter(hint)
    if hint is float:
        return _float
    if hint in (int, bool, str, type(None)):
        return lambda v: v if type(v) is hint else _no(v)
    return lambda v: v if isinstance(v, np.ndarray) else _no(v)


def _union_converter(hint: Any) -> _Converter:
    options = typing.get_args(hint)
    converters = [_converter(option) for option in options]
    plain = {option for option in options if option in (int, bool, str, type(None))}

    def convert(value: Any) -> Any:
        if type(value) in plain:  # most are, and an exception costs more than a look
            return value
        for converter in converters:
            try:
                return converter(value)
            except _InvalidError:
                continue
        return _no(value)

    return convert


def _object_converter(cls: Any) -> _Converter:
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    fields = [
        (
            f.name,
            _converter(hints[f.name]),
            f.default is missing and f.default_factory is missing,
        )
        for f in dataclasses.fields(cls)
    ]

    def convert(values: Any) -> Any:
        if not isinstance(values, dict):
            raise _InvalidError("is not an object")
        kwargs: dict[str, Any] = {}
        for name, converter, required in fields:
            if name in values:
                try:
                    kwargs[name] = converter(values[name])
                except _InvalidError as e:
                    e.path.append(name)
                    raise
            elif required:
                raise _InvalidError(f"lacks the field {name!r}")
        return cls(**kwargs)

    return convert


def _float(value: Any) -> float:
    if isinstance(value, str) and value in NONFINITE:
        return NONFINITE[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise _InvalidError("is out of range") from None
    number: float = _no(value)
    return number


def _check_shapes(record: Any) -> None:
    if isinstance(record, RangesRecord):
        n, p = (
            len(record.steps),
            record.bad_steps.shape[-1] if record.bad_steps.ndim == 2 else -1,
        )
        ok = (
            record.steps.shape == (n, 2)
            and record.bad_steps.shape == (n, p)
            and _has_columns(record.stats, n, p)
            and record.counts.shape == (n, p, len(COUNT_COLUMNS))
            and record.measured.shape == (n,)
        )
    elif isinstance(record, FlightRecord):
        n, m = len(record.steps), len(record.full_steps)
        p = record.rms.shape[-1] if record.rms.ndim == 2 else -1
        ok = (
            record.steps.shape == (n,)
            and record.full_steps.shape == (m,)
            and record.rms.shape == (n, p)
            and _has_columns(record.stats, m, p)
            and record.counts.shape == (m, p, len(COUNT_COLUMNS))
        )
    elif isinstance(record, StatusRecord):
        n = len(record.lane_steps)
        ok = (
            record.lane_steps.shape == (n,)
            and _has_columns(record.lane, n)
            and record.lane_seconds.shape == (n,)
            and record.lane_epochs.shape == (n,)
            and record.lane_loss_scale.shape in ((0,), (n,))
            and record.lane_skipped.shape == record.lane_loss_scale.shape
        )
    else:
        return
    if not ok:
        raise RecordError(f"arrays of the {record.KIND} record do not fit each other")


def _has_columns(array: Array, *axes: int) -> bool:
    """Returns whether the array has these axes and, last, one of columns."""
    return array.shape[:-1] == axes and array.shape[-1] > 0


# Arrays whose columns another version may have more or fewer of; they are appended only.
_COLUMNS: Final[dict[str, int]] = {"lane": len(LANE_SERIES), "stats": len(RANGE_COLUMNS)}


def _take_known_columns(record: Any) -> None:
    """Leaves out unknown columns, and fills missing ones with NaN."""
    for name, wanted in _COLUMNS.items():
        array = getattr(record, name, None)
        if array is None or array.shape[-1] == wanted:
            continue
        known = array[..., :wanted]
        missing = wanted - known.shape[-1]
        padding = np.full((*known.shape[:-1], missing), np.nan, known.dtype)
        setattr(record, name, np.concatenate([known, padding], axis=-1))
