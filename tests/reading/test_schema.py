"""Every record survives encode and decode, and bad bytes raise RecordError alone."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tb_nanwatch.errors import NewerSchemaError, RecordError
from tb_nanwatch.record import codec, metadata, schema, strict_json
from tests.reading.records import a_ranges, a_session, a_status, a_verdict, an_events

quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# The three words that stand for non-finite numbers cannot be told from strings.
WORDS = {"NaN", "Infinity", "-Infinity"}
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(
    lambda t: t not in WORDS
)
small = st.integers(0, 3)
names = {"probes": small, "buckets": small, "steps": small, "full": small, "lane": small}
SHAPES = {
    "RangesRecord": {
        "steps": ("buckets", 2),
        "stats": ("buckets", "probes", len(schema.RANGE_COLUMNS)),
        "counts": ("buckets", "probes", len(schema.COUNT_COLUMNS)),
        "bad_steps": ("buckets", "probes"),
        "measured": ("buckets",),
    },
    "FlightRecord": {
        "steps": ("steps",),
        "rms": ("steps", "probes"),
        "full_steps": ("full",),
        "stats": ("full", "probes", len(schema.RANGE_COLUMNS)),
        "counts": ("full", "probes", len(schema.COUNT_COLUMNS)),
    },
    "StatusRecord": {
        "lane_steps": ("lane",),
        "lane": ("lane", len(schema.LANE_SERIES)),
        "lane_seconds": ("lane",),
        "lane_epochs": ("lane",),
        "lane_loss_scale": ("lane",),
        "lane_skipped": ("lane",),
    },
}
DTYPES = {"int64": np.int64, "int32": np.int32, "float32": np.float32}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Returns a strategy for a field's type."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if hint is Any:
        return st.one_of(st.none(), st.integers(), texts)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        finite = st.floats(allow_nan=False, allow_infinity=False)
        alike = str in arguments  # then the word for a number is a text
        return st.one_of(
            *(finite if alike and a is float else values(a) for a in arguments)
        )
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(texts, values(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        fields = dataclasses.fields(typing.cast(Any, hint))
        return st.builds(hint, **{f.name: values(hints[f.name]) for f in fields})
    if hint is float:
        return st.floats()
    return {int: st.integers(), bool: st.booleans(), str: texts, type(None): st.none()}[
        hint
    ]


@st.composite
def records(draw: st.DrawFn) -> Any:
    cls = draw(st.sampled_from(sorted(schema.RECORDS.values(), key=lambda c: c.__name__)))
    hints = typing.get_type_hints(cls)
    shapes = SHAPES.get(cls.__name__, {})
    sizes = {name: draw(size) for name, size in names.items()}
    fields = {}
    for f in dataclasses.fields(cls):
        if f.name in shapes:
            shape = tuple(sizes.get(n, n) for n in shapes[f.name])  # type: ignore[call-overload]
            dtype = DTYPES[codec._ARRAY_DTYPE[f.name]]
            fields[f.name] = draw(hnp.arrays(dtype, shape))
        else:
            fields[f.name] = draw(values(hints[f.name]))
    return cls(**fields)


def same(a: Any, b: Any) -> bool:
    """Whether two records are equal, NaN equal to itself."""
    if isinstance(a, np.ndarray):
        equal_nan = a.dtype.kind == "f"
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=equal_nan)
    if dataclasses.is_dataclass(a):
        fields = dataclasses.fields(a)
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in fields
        )
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and a == b


@quick
@given(records())
def test_round_trip(record: Any) -> None:
    assert same(codec.decode(codec.encode(record)), record)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_hyperparameter_that_is_not_finite_is_a_word(value: float) -> None:
    status = a_status(hparams=[schema.HParam("clip", value, default=value)])
    (hparam,) = codec.decode(codec.encode(status)).hparams  # type: ignore[union-attr]
    assert hparam.value == hparam.default == strict_json.json_safe(value)
    assert hparam.value in WORDS


SAMPLES = [
    a_status(bad=True),
    a_session(),
    a_ranges(1, 0, [(0, 4), (5, 9)]),
    an_events(1, 0, 1, 2),
    a_verdict(),
]


@settings(quick, max_examples=400)
@given(st.sampled_from(SAMPLES), st.data())
def test_mutated_bytes_raise_nothing_but_record_error(
    record: Any, data: st.DataObject
) -> None:
    elements = codec.encode(record)
    which = data.draw(st.integers(0, len(elements) - 1))
    raw = bytearray(elements[which])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    elements[which] = bytes(raw)
    decodes_or_raises_record_error(elements)


# JSON values that a header may hold where something else is expected.
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(quick, max_examples=400)
@given(st.sampled_from(SAMPLES), st.data())
def test_junk_in_the_header_raises_nothing_but_record_error(
    record: Any, data: st.DataObject
) -> None:
    elements = codec.encode(record)
    header = json.loads(elements[0])
    target = header
    while True:
        if isinstance(target, dict) and target:
            key: Any = data.draw(st.sampled_from(sorted(target)))
        elif isinstance(target, list) and target:
            key = data.draw(st.integers(0, len(target) - 1))
        else:
            break
        inner = target[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            target[key] = data.draw(junk)
            break
        target = inner
    elements[0] = json.dumps(header).encode()
    decodes_or_raises_record_error(elements)


@settings(quick, max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_raise_nothing_but_record_error(elements: list[bytes]) -> None:
    decodes_or_raises_record_error(elements)


def decodes_or_raises_record_error(elements: list[bytes]) -> None:
    try:
        record = codec.decode(elements)
    except RecordError:
        return
    # What decodes can be encoded, and read again.
    assert isinstance(codec.decode(codec.encode(record)), type(record))


def with_arrays(**changes: Any) -> list[bytes]:
    elements = codec.encode(a_status())
    header = json.loads(elements[0])
    header["arrays"]["lane_steps"] |= changes
    elements[0] = json.dumps(header).encode()
    return elements


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": []},
        {"shape": [1 << 40]},
        {"shape": [-1]},
        {"shape": [True]},
        {"shape": [1 << 27, 1 << 27]},
        {"shape": [5, 1]},
        {"shape": [4]},
        {"shape": "5"},
        {"dtype": "object"},
        {"dtype": None},
    ],
)
def test_arrays_that_do_not_fit_their_header(changes: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        codec.decode(with_arrays(**changes))


def test_arrays_that_fit_their_header() -> None:
    codec.decode(with_arrays(shape=[5]))


def test_a_newer_schema_says_what_to_do() -> None:
    elements = codec.encode(a_status())
    elements[0] = elements[0].replace(b'"v":1', b'"v":2')
    with pytest.raises(NewerSchemaError, match="upgrade tb-nanwatch") as raised:
        codec.decode(elements)
    assert (raised.value.found, raised.value.known) == (2, schema.SCHEMA_VERSION)


OF_COLUMNS = [
    ("lane", a_status(), len(schema.LANE_SERIES)),
    ("stats", a_ranges(1, 0, [(0, 4), (5, 9)]), len(schema.RANGE_COLUMNS)),
]


def with_columns(name: str, record: Any, columns: int) -> tuple[Any, list[bytes]]:
    """Returns the array with another number of columns, and the record that holds it."""
    shape = (*getattr(record, name).shape[:-1], columns)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return array, codec.encode(dataclasses.replace(record, **{name: array}))


@pytest.mark.parametrize(("name", "record", "known"), OF_COLUMNS)
def test_columns_of_another_version(name: str, record: Any, known: int) -> None:
    for columns in (1, known - 2, known - 1, known, known + 1, known + 5):
        array, elements = with_columns(name, record, columns)
        read = getattr(codec.decode(elements), name)
        assert read.shape == (*array.shape[:-1], known) and read.dtype == np.float32
        both = min(columns, known)
        np.testing.assert_array_equal(read[..., :both], array[..., :both])
        assert np.isnan(read[..., both:]).all()


@pytest.mark.parametrize(("name", "record", "known"), OF_COLUMNS)
def test_no_columns_are_no_version(name: str, record: Any, known: int) -> None:
    with pytest.raises(RecordError):
        codec.decode(with_columns(name, record, 0)[1])


@pytest.mark.parametrize("kind", sorted(schema.RECORDS))
def test_tags(kind: str) -> None:
    tag = metadata.make_tag("0123456789abcdef", kind)
    assert metadata.parse_tag(tag) == ("0123456789abcdef", kind)
    for bad in (tag + "s", tag.replace("f", "g"), tag[1:], "x/" + tag, tag + "\n"):
        assert metadata.parse_tag(bad) is None


@pytest.mark.parametrize("record", [SAMPLES[0], SAMPLES[2]], ids=lambda r: r.KIND)
def test_arrays_without_axes(record: Any) -> None:
    elements = codec.encode(record)
    header = json.loads(elements[0])
    for i, entry in enumerate(header["arrays"].values()):
        entry["shape"] = []
        elements[1 + i] = zlib.compress(bytes(np.dtype(entry["dtype"]).itemsize))
    elements[0] = json.dumps(header).encode()
    with pytest.raises(RecordError):
        codec.decode(elements)
