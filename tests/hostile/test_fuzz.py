"""The decoder, and all that is made of what decodes, on inputs nobody would write.

CI feeds a share, `make fuzz` a million.
"""

from __future__ import annotations

import json
import resource
import tracemalloc
import zlib

import pytest

from tb_nanwatch.errors import RecordError
from tb_nanwatch.record import codec
from tests.hostile import fuzz
from tests.hostile.conftest import Tally
from tests.reading.records import a_ranges, a_status


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_decoder_raises_its_own_errors_alone(full: bool, tally: Tally) -> None:
    count = 1_000_000 if full else 15_000
    before = peak_bytes()
    seen = fuzz.decode_many(count, seed=3)
    assert seen["refused"] > count / 4 and seen["decoded"] > count / 20
    assert peak_bytes() - before < 512 << 20
    tally.add("inputs to the decoder", count)


def test_whatever_decodes_is_shown_beside_a_healthy_search(
    full: bool, tally: Tally
) -> None:
    count = 2_000 if full else 60
    fuzz.show_many(count, seed=3)
    tally.add("runs of changed records, shown by tab and report", count)


def test_the_untouched_records_are_shown() -> None:
    fuzz.show([codec.encode(record) for record in fuzz.records()])


@pytest.mark.parametrize("declared", [1 << 25, 1 << 26, 1 << 27])
def test_a_bomb_is_refused_before_it_is_unpacked(declared: int) -> None:
    """A few kB that claim to hold, and do hold, more than a record may."""
    elements = codec.encode(a_ranges(1, 0, [(0, 4)]))
    header = json.loads(elements[0])
    header["arrays"]["steps"]["shape"] = [declared, 2]
    bomb = zlib.compressobj(9)
    part = bomb.compress(bytes(1 << 26))
    elements[0] = json.dumps(header).encode()
    elements[1] = part + bomb.flush()
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match="expected at most"):
            codec.decode(elements)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_arrays_count_together() -> None:
    elements = codec.encode(a_status())
    header = json.loads(elements[0])
    share = codec.MAX_ARRAY_BYTES // 3
    for name, width in (("lane_steps", 8), ("lane_seconds", 4), ("lane_epochs", 4)):
        header["arrays"][name]["shape"] = [share // width]
        at = 1 + list(header["arrays"]).index(name)
        elements[at] = zlib.compress(bytes(share // width * width))
    elements[0] = json.dumps(header).encode()
    with pytest.raises(RecordError):
        codec.decode(elements)
