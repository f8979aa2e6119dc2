"""The share of the campaign in mode "xla": see `share.py`."""

from __future__ import annotations

import pytest

from tests.identity.share import check, seeds


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds("xla"))
def test_watching_changes_nothing(seed: int) -> None:
    check("xla", seed)
