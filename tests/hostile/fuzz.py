"""Bytes and values that nobody would write on purpose, made from real records.

`python -m tests.hostile.fuzz [INPUTS]` feeds them to the decoder and to all that is
made of what decodes: overview, report, the routes' bodies, the terminal.
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tb_nanwatch.errors import RecordError
from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.tab import details, lanes
from tb_nanwatch.record import codec, metadata, schema, strict_json
from tb_nanwatch.record.schema import FlightRecord
from tests.reading.records import (
    CTX,
    STARTED,
    a_ranges,
    a_session,
    a_status,
    a_verdict,
    an_events,
    session_id,
)
from tests.support.told import as_json, as_overview

# An address space beyond this is what a bomb would take.
MEMORY_BYTES = 4 << 30

NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**63, 10**400),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, "NaN", "Infinity", "-Infinity"),
    *("", "x", "=1+1", "../../etc/passwd", "<script>alert(1)</script>", "\x1b[31mred"),
    *("\u202edlrow", "\x00", "\ud800", "n" * 10_000, "0000000000000001", "diverged"),
    *([], {}, [None], {"a": None}, [[]], [0] * 300),
)


def records(number: int = 1) -> list[Any]:
    """One run's records, of every kind."""
    rms = np.full((4, 2), np.inf, np.float32)
    stats = np.ones((1, 2, len(schema.RANGE_COLUMNS)), np.float32)
    flight = FlightRecord(
        session_id(number),
        0,
        phase="train",
        steps=np.arange(4),
        rms=rms,
        full_steps=np.array([3]),
        stats=stats,
        counts=np.full((1, 2, 3), 7),
    )
    written = {"session": 1, "ranges": 1, "events": 1, "flight": 1}
    return [
        a_status(number, bad=True, written=written, closest={"float32": 0.5}),
        a_status(number + 1, bad=True, status="runaway"),
        a_session(number),
        a_ranges(number, 0, [(0, 36), (37, 50)]),
        an_events(number, 0, 0, 1),
        flight,
        a_verdict(number),
    ]


class Mutator:
    """Makes inputs from real records, by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._samples = [codec.encode(r) for r in records()]

    def elements(self) -> list[bytes]:
        """Returns one mutated record, as bytes."""
        r = self.random
        elements = list(r.choice(self._samples))
        hows = (self._bits, self._splice, self._cut, self._array, self._bomb, self._order)
        for _ in range(r.choice((1, 1, 1, 2, 5))):
            how = r.choice((*hows, self._header, self._header, self._header))
            how(elements)
        return elements

    def _pick(self, elements: list[bytes]) -> int:
        return self.random.randrange(len(elements)) if elements else -1

    def _bits(self, elements: list[bytes]) -> None:
        i = self._pick(elements)
        if i >= 0 and elements[i]:
            raw = bytearray(elements[i])
            for _ in range(self.random.choice((1, 1, 8))):
                raw[self.random.randrange(len(raw))] ^= 1 << self.random.randrange(8)
            elements[i] = bytes(raw)

    def _splice(self, elements: list[bytes]) -> None:
        i = self._pick(elements)
        if i >= 0:
            at = self.random.randint(0, len(elements[i]))
            junk = self.random.randbytes(self.random.randint(0, 6))
            skip = at + self.random.randint(0, 6)
            elements[i] = elements[i][:at] + junk + elements[i][skip:]

    def _cut(self, elements: list[bytes]) -> None:
        i = self._pick(elements)
        if i >= 0:
            elements[i] = elements[i][: self.random.randint(0, len(elements[i]))]

    def _order(self, elements: list[bytes]) -> None:
        how = self.random.randrange(3)
        if how == 0:
            self.random.shuffle(elements)
        elif how == 1 and elements:
            elements.append(self.random.choice(elements))
        elif elements:
            elements.pop(self._pick(elements))

    def _header(self, elements: list[bytes]) -> None:
        try:
            header = json.loads(elements[0])
        except (ValueError, IndexError, RecursionError):
            return
        self.spoil(header)
        elements[0] = json.dumps(header).encode()

    def spoil(self, value: Any) -> None:
        """Puts something else in one place of parsed JSON."""
        r = self.random
        while isinstance(value, dict | list) and value:
            key = (
                r.choice(list(value))
                if isinstance(value, dict)
                else r.randrange(len(value))
            )
            inner = value[key]
            if not isinstance(inner, dict | list) or not inner or r.random() < 0.2:
                if r.random() < 0.1:
                    del value[key]
                else:
                    value[key] = r.choice(NASTY)
                return
            value = inner

    def _array(self, elements: list[bytes]) -> None:
        """Other numbers in a well-formed array."""
        if len(elements) < 2:
            return
        i = self.random.randrange(1, len(elements))
        try:
            raw = bytearray(zlib.decompress(elements[i]))
        except zlib.error:
            return
        for _ in range(self.random.choice((1, 4))):
            if len(raw) >= 8:
                at = self.random.randrange(len(raw) // 8) * 8
                raw[at : at + 8] = self.random.choice(
                    (
                        b"\xff" * 8,
                        b"\x00" * 8,
                        struct.pack("<q", 2**63 - 1),
                        struct.pack("<q", -(2**63)),
                        struct.pack("<2f", np.nan, -np.inf),
                        struct.pack("<2f", 3e38, 1e-45),
                        self.random.randbytes(8),
                    )
                )
        elements[i] = zlib.compress(bytes(raw), 1)

    def _bomb(self, elements: list[bytes]) -> None:
        """A huge declared size, and bytes that would fill it."""
        try:
            header = json.loads(elements[0])
            entry = self.random.choice(list(header["arrays"].values()))
            entry["shape"][0] = self.random.choice((1 << 20, 1 << 26, 1 << 28, 1 << 62))
        except (
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            RecursionError,
            AttributeError,
        ):
            return
        elements[0] = json.dumps(header).encode()
        if len(elements) > 1 and self.random.random() < 0.02:
            elements[self.random.randrange(1, len(elements))] = BOMB


BOMB = zlib.compress(bytes(1 << 24), 9)


# A search with a finding: what is spoilt is compared with it.
_HEALTHY = {
    f"healthy{i}": [
        codec.encode(record)
        for record in (a_status(i, bad=i > 14), a_session(i), a_verdict(i))
    ]
    for i in range(9, 21)
}


class Provider:
    """A data provider over elements in memory."""

    def __init__(self, runs: dict[str, list[list[bytes]]]) -> None:
        self._data: dict[str, dict[str, list[Any]]] = {}
        for run, rows in runs.items():
            for elements in rows:
                record = codec.decode(elements)
                tag = metadata.make_tag(record.session_id, record.KIND)
                datum = SimpleNamespace(
                    step=record.seq, wall_time=STARTED, numpy=np.array(elements, object)
                )
                self._data.setdefault(run, {}).setdefault(tag, []).append(datum)

    def list_tensors(self, ctx: Any, *, experiment_id: str, plugin_name: str) -> Any:
        return {
            run: {
                tag: SimpleNamespace(max_step=len(data), max_wall_time=STARTED)
                for tag, data in tags.items()
                if metadata.PLUGIN_OF_KIND[tag.rpartition("/")[2]] == plugin_name
            }
            for run, tags in self._data.items()
        }

    def read_tensors(self, ctx: Any, *, run_tag_filter: Any, **_: Any) -> Any:
        return {
            run: {t: d for t, d in self._data[run].items() if t in run_tag_filter.tags}
            for run in run_tag_filter.runs
        }


def show(rows: Sequence[list[bytes]], mutant: str = "mutant") -> None:
    """Makes everything that is ever made of records, with a healthy run beside them.

    Raises:
        AssertionError: the healthy run is not shown.
    """
    runs = {mutant: list(rows)} | _HEALTHY
    reader = Reader(
        Provider(runs),
        clock=lambda: STARTED,
        max_age=0,
    )
    snapshot = reader.snapshot(CTX, "")
    full = as_json(overview(snapshot, Causes(reader).of(CTX, "", snapshot.sessions)))
    assert {run["run"] for run in full["runs"]} >= set(_HEALTHY)
    json.loads(strict_json.dumps(full))
    json.loads(strict_json.dumps(in_report(as_overview(full))))
    out = io.StringIO()
    terminal.render(as_overview(full), out)
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
    for session in snapshot.sessions:
        lanes.packed([session])
        lanes.exact(session)
        detail = reader.detail(
            CTX, "", session, ("session", "events", "ranges", "flight")
        )
        json.loads(strict_json.dumps(details.run(session, detail)))
        for phase in schema.PHASES:
            for kind, make in (("ranges", details.ranges), ("flight", details.flight)):
                of_phase = [r for r in detail.records[kind] if r.phase == phase]
                make(of_phase, detail.damage)  # type: ignore[operator]


def decode_many(count: int, seed: int = 1) -> Counter[str]:
    """Feeds `count` inputs to the decoder; returns how many were what.

    Raises:
        Exception: any that is not our own.
    """
    mutator = Mutator(seed)
    seen: Counter[str] = Counter()
    for i in range(count):
        elements = mutator.elements()
        try:
            record = codec.decode(elements)
        except RecordError:
            seen["refused"] += 1
            continue
        except Exception as e:
            raise AssertionError(f"input {i} of seed {seed}: {elements!r:.2000}") from e
        seen["decoded"] += 1
        if isinstance(record, schema.StatusRecord):
            seen["status decoded"] += 1
    return seen


def show_many(count: int, seed: int = 1) -> Counter[str]:
    """Shows `count` runs in which one record or more was changed and still decodes."""
    mutator = Mutator(seed)
    samples = [codec.encode(r) for r in records()]
    seen: Counter[str] = Counter()
    while seen["shown"] < count:
        rows = []
        for elements in samples:
            changed = list(elements)
            for _ in range(mutator.random.choice((0, 0, 1, 1, 2))):
                change = (
                    mutator._header if mutator.random.random() < 0.7 else mutator._array
                )
                change(changed)
            try:
                codec.decode(changed)
            except RecordError:
                seen["refused"] += 1
                continue
            rows.append(changed)
        try:
            show(rows)
        except Exception as e:
            raise AssertionError(
                f"run {seen['shown']} of seed {seed}: {rows!r:.3000}"
            ) from e
        seen["shown"] += 1
    return seen


def main(count: int) -> None:
    """Prints what was fed and what became of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    began = time.monotonic()
    seen: Counter[str] = Counter()
    for seed in range(max(1, count // 50_000)):
        seen += decode_many(min(count, 50_000), seed)
    shown = show_many(max(1, count // 500))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = seen["refused"] + seen["decoded"]
    print(
        f"{total:,} inputs to the decoder ({seen['refused']:,} refused, "
        f"{seen['decoded']:,} decoded), {shown['shown']:,} runs of changed records shown; "
        f"no exception but our own, peak memory {peak:.0f} MB, "
        f"{time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
