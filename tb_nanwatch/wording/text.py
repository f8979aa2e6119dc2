# SPDX-License-Identifier: Apache-2.0
"""Text that others chose (names, messages) made safe for a terminal; pure."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import unicodedata
from typing import Final

MAX_TEXT: Final = 200
# The longest path that Linux takes.
_MAX_PATH: Final = 4096

# CSI and OSC sequences and the two-character escapes, in 7-bit and 8-bit form.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# Controls, formats, surrogates, unassigned, and the two separators that break a line.
_NOT_PRINTED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(value: object, limit: int = MAX_TEXT) -> str:
    """Returns `value` as one line of text that a terminal shows and nothing more.

    Escape sequences go; other control and format characters (direction marks, lone
    surrogates, line breaks) become a space or the replacement character.
    """
    text = _ESCAPES.sub("", str(value)[: 10 * limit])
    chars = [
        " "
        if c in "\n\r\t\u2028\u2029"
        else "\ufffd"
        if unicodedata.category(c)[0] == "C"
        else c
        for c in text
    ]
    text = " ".join("".join(chars).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shell_word(path: str) -> str:
    """Returns `path` as one word of a shell command, quoted where it must be.

    Spaces stay as they are; what a terminal would obey becomes the replacement character.
    """
    word = "".join(
        "\ufffd" if unicodedata.category(c) in _NOT_PRINTED else c
        for c in path[:_MAX_PATH]
    )
    # cmd.exe knows no single quotes.
    return subprocess.list2cmdline([word]) if os.name == "nt" else shlex.quote(word)
