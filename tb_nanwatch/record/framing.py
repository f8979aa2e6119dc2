# SPDX-License-Identifier: Apache-2.0
"""Records as event files hold them: each with its length and checksums.

TensorBoard's writer of these imports its layer of file systems, and with it boto3 and
fsspec where they are installed: a fifth of a second, and some ten MB, in every training.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

# Castagnoli's polynomial, bits reversed.
_POLYNOMIAL: Final = 0x82F63B78
# What TensorFlow adds to a checksum that is stored beside its data.
_MASK: Final = 0xA282EAD8
_BITS: Final = 0xFFFFFFFF


def _table() -> Iterator[int]:
    """Yields by the next byte what a checksum of no bytes becomes."""
    for byte in range(256):
        checksum = byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (_POLYNOMIAL if checksum & 1 else 0)
        yield checksum


_TABLE: Final = tuple(_table())


def framed(data: bytes) -> bytes:
    """Returns a record as it is appended to an event file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked(length), data, _masked(data)))


def _masked(data: bytes) -> bytes:
    """Returns the CRC-32C of data, as it is stored."""
    checksum, table = _BITS, _TABLE
    for byte in data:
        checksum = table[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    checksum ^= _BITS
    turned = (checksum >> 15 | checksum << 17) & _BITS
    return struct.pack("<I", (turned + _MASK) & _BITS)
