"""KerasTuner's guides: plain, watched, and with one mistake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.guides import tuning
from tests.guides.check import cases, fault, identity, name_of


@pytest.mark.parametrize(("guide", "mode"), cases("watched", tuning), ids=name_of)
def test_trains_as_without(guide: Any, mode: str) -> None:
    identity(guide, mode)


@pytest.mark.parametrize(("guide", "mode"), cases("fault", tuning), ids=name_of)
def test_its_mistake_is_found(guide: Any, mode: str) -> None:
    fault(guide, mode)
