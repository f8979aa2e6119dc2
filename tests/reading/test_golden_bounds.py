"""Where a cut lies between two values is worked out in the tab as here: one file for both.

frontend/test/cut.test.ts reads the same file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.declaring import cut

GOLDEN = Path(__file__).resolve().parents[2] / "frontend/test/golden/bounds.json"


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text("utf-8")))
def test_bounds_are_those_of_the_tab(case: dict[str, Any]) -> None:
    short = cut.short_between(case["live"], case["dead"], case["log"])
    assert short == case["short"]
