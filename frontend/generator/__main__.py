# SPDX-License-Identifier: Apache-2.0
"""Writes the tab's types and http_api.md's tables from the classes that the server sends.

python generator           write the files
python generator --check   fail where one is out of date
"""

from __future__ import annotations

import difflib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from generator import cases
from generator import decoders
from generator import tables
from generator import typescript

CASES = HERE / "test" / "golden" / "words.gen.json"
API = HERE / "src" / "api"
PAGE = ROOT / "tb_nanwatch" / "reading" / "tab" / "http_api.md"


def main(argv: list[str]) -> int:
    """Writes the files, or compares them; returns the exit status."""
    made = {
        API / "schema.gen.ts": typescript.generate(),
        API / "decode.gen.ts": decoders.generate(),
        CASES: cases.generate(),
        PAGE: tables.generate(PAGE.read_text(encoding="utf-8")),
    }
    stale = 0
    for path, text in made.items():
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found == text:
            continue
        if "--check" not in argv:
            path.write_text(text, encoding="utf-8")
            continue
        stale += 1
        sys.stderr.writelines(
            difflib.unified_diff(
                found.splitlines(True), text.splitlines(True), str(path), "expected"
            )
        )
        print(f"{path.name} is out of date: run `npm run generate`.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
