# SPDX-License-Identifier: Apache-2.0
"""Decodes the data provider's tensors into records, and says which are damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tb_nanwatch.errors import RecordError
from tb_nanwatch.record import codec, metadata
from tb_nanwatch.wording.damage_text import duplicates_text, unreadable_text

# Time series by run and tag, as the provider lists them.
Listing = Mapping[str, Mapping[str, Any]]

# Arrays of one session and kind that are held at a time: ten times those of a million
# steps of 4,000 probes. A damaged or hostile file can claim any size.
_MAX_DECODED_BYTES: Final = 1 << 30


@dataclass
class Loaded:
    """The newest readable record of one tag.

    Attributes:
        version: of the time series that it was read from.
        record: None where none can be read.
        problem: why the newest one, or any, cannot be read.
        wall_time: seconds since the epoch, at which it was written.
    """

    version: str
    record: Any = None
    problem: str | None = None
    wall_time: float = 0.0


def belongs(tag_name: str, plugin: str) -> bool:
    """Returns whether records of a tag are stored under a plugin's name."""
    tag = metadata.parse_tag(tag_name)
    return tag is not None and metadata.PLUGIN_OF_KIND[tag.kind] == plugin


def version_of(series: Any) -> str:
    """Returns a fingerprint of a time series: it changes whenever the series does."""
    # A string, since a NaN wall time is not equal to itself.
    return f"{series.max_step}/{series.max_wall_time}"


def fingerprint(listing: Listing) -> frozenset[tuple[str, str, str]]:
    """Returns a fingerprint that changes whenever one of the time series does."""
    return frozenset(
        (run, tag, version_of(series))
        for run, tags in listing.items()
        for tag, series in tags.items()
    )


def _decode(datum: Any, tag_name: str) -> Any:
    """Returns the datum's record.

    Raises:
        RecordError: it is not a record, or not one of this tag.
    """
    tag = metadata.parse_tag(tag_name)
    array = datum.numpy
    if tag is None or array.ndim != 1 or array.dtype != object:
        raise RecordError(
            f"record is a {array.dtype} tensor of {array.ndim} dimensions; expected a "
            "vector of strings"
        )
    record = codec.decode(array.tolist())
    if tag.kind != record.KIND or record.session_id != tag.session_id:
        raise RecordError(
            f"record of kind {record.KIND!r:.20} and session {record.session_id!r:.20} "
            f"under the tag {tag_name!r:.60}"
        )
    return record


def newest(data: Sequence[Any], tag_name: str, version: str) -> Loaded:
    """Returns the readable record with the highest sequence number.

    The provider may keep one record of the tag or all of them, in any order.
    """
    problem = None
    for datum in sorted(data, key=lambda d: d.step, reverse=True):
        try:
            return Loaded(version, _decode(datum, tag_name), problem, datum.wall_time)
        except RecordError as e:
            problem = problem or str(e)
    return Loaded(version, problem=problem or "the tag is empty")


def decode_all(data: Sequence[Any], tag_name: str) -> tuple[list[Any], list[str]]:
    """Returns the records by sequence number, and the problems, a sentence each."""
    records: dict[int, Any] = {}
    bad: list[str] = []
    duplicates = size = 0
    seen: dict[int, list[bytes]] = {}
    for datum in data:
        try:
            record = _decode(datum, tag_name)
            size += codec.array_bytes(record)
            if size > _MAX_DECODED_BYTES:
                raise RecordError(f"more than {_MAX_DECODED_BYTES} bytes of arrays")
        except RecordError as e:
            bad.append(str(e))
            continue
        elements = datum.numpy.tolist()
        # A record that was written twice, since the place failed after the first time, is no
        # damage.
        duplicates += record.seq in seen and seen[record.seq] != elements
        seen[record.seq] = elements
        records[record.seq] = (
            record  # of two records with one number, the later one counts
        )
    kind = tag_name.rpartition("/")[2]
    problems = []
    if bad:
        problems.append(unreadable_text(len(bad), kind, bad[0]))
    if duplicates:
        problems.append(duplicates_text(duplicates, kind))
    return [records[seq] for seq in sorted(records)], problems
