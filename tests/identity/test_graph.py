"""The share of the campaign in mode "graph": see `share.py`."""

from __future__ import annotations

import pytest

from tests.identity.share import check, seeds


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds("graph"))
def test_watching_changes_nothing(seed: int) -> None:
    check("graph", seed)
