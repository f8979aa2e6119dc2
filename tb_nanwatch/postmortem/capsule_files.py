# SPDX-License-Identifier: Apache-2.0
"""Opens a capsule's files, which may come from anyone."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.record.strict_json import JSONObject

# The largest honest header is the configuration of a very deep model: a few MB.
_MAX_JSON_BYTES: Final = 1 << 26


def open_regular(path: Path, max_bytes: int) -> BinaryIO:
    """Returns a regular file, opened for reading.

    What it is, is asked of the open file, so that nothing can take its place in between.
    Opening waits for no writer of a pipe, and follows no link.

    Raises:
        CapsuleError: it is anything else, or larger than `max_bytes`.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise CapsuleError(
                f"{path} is a link; expected a regular file. Copy the capsule with what "
                "its links point to (cp -rL)."
            ) from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CapsuleError(
                f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'a special file')}; "
                "expected a regular file"
            )
        if found.st_size > max_bytes:
            raise CapsuleError(
                f"{path} has {found.st_size:,} bytes; at most {max_bytes:,}"
            )
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


def read_json(path: Path) -> JSONObject:
    """Returns the JSON object in a file.

    Raises:
        CapsuleError: the file cannot be read, or holds no JSON object.
    """
    try:
        with open_regular(path, _MAX_JSON_BYTES) as f:
            # It may have grown since its size was asked for.
            header = json.loads(f.read(_MAX_JSON_BYTES))
    except OSError as e:
        raise CapsuleError(f"{path} cannot be read: {e.strerror or e}") from None
    except (ValueError, RecursionError) as e:
        raise CapsuleError(f"{path} is not JSON: {e}; is it truncated?") from None
    if not isinstance(header, dict):
        raise CapsuleError(f"{path} is not a JSON object")
    return header
