"""Many architectures: plain, watched, and with one mistake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.guides import structured, text, vision
from tests.guides.check import cases, fault, identity, name_of


@pytest.mark.parametrize(
    ("guide", "mode"), cases("watched", structured, text, vision), ids=name_of
)
def test_trains_as_without(guide: Any, mode: str) -> None:
    identity(guide, mode)


@pytest.mark.parametrize(
    ("guide", "mode"), cases("fault", structured, text, vision), ids=name_of
)
def test_its_mistake_is_found(guide: Any, mode: str) -> None:
    fault(guide, mode)
