# SPDX-License-Identifier: Apache-2.0
"""A JSON header and arrays in one body, as the browser reads them without a copy; pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from tb_nanwatch.reading.contract.details import ArraySpec
from tb_nanwatch.record import strict_json
from tb_nanwatch.record.schema import Array
from tb_nanwatch.record.strict_json import JSONObject


def frame(header: JSONObject, arrays: Mapping[str, Array]) -> bytes:
    """Returns the framing of http_api.md.

    Little-endian: uint32 length of the header, the header padded with spaces to a
    multiple of 4 bytes, then the arrays in the header's order, each followed by zeros up
    to a multiple of 4 bytes.

    Args:
        header: JSON values; the arrays' names, dtypes and shapes are added.
        arrays: of little-endian dtypes.
    """
    entries = [
        ArraySpec(name, array.dtype.name, list(array.shape))
        for name, array in arrays.items()
    ]
    text = strict_json.dumps({**header, "arrays": entries}).encode("utf-8")
    text += b" " * (-len(text) % 4)
    parts = [struct.pack("<I", len(text)), text]
    for array in arrays.values():
        blob = np.ascontiguousarray(array).tobytes()
        parts += [blob, bytes(-len(blob) % 4)]
    return b"".join(parts)
