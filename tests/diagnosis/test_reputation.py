"""How often such a cause was right of other people's programs, told on asking."""

from __future__ import annotations

from typing import Any

import pytest

from tb_nanwatch.diagnosis import reputation
from tb_nanwatch.diagnosis.ranking import diagnose
from tb_nanwatch.diagnosis.reputation import SELDOM, Reputation, family_of, reputation_of
from tb_nanwatch.diagnosis.rules.track_record import FIRST_RUNS
from tb_nanwatch.record.schema import CAUSES
from tests.diagnosis.records import CASES

COUNTS = {
    ("domain", "tested"): (14, 15),
    ("data", "tested"): (3, 4),
    ("other", "likely"): (5, 7),
}


@pytest.mark.parametrize(
    ("cause", "sure", "right", "named"),
    [
        ("loss_domain", "tested", 14, 15),
        ("metric_domain", "tested", 14, 15),
        # Too few of its own family: all that are as sure.
        ("outlier_data", "tested", 17, 19),
        ("learning_rate", "tested", 17, 19),
        ("learning_rate", "likely", 5, 7),
        ("learning_rate", "unclear", 0, 0),
    ],
)
def test_what_is_counted(
    cause: str, sure: str, right: int, named: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reputation, "FIRST_RUNS", COUNTS)
    found = reputation_of(cause, sure)
    assert found == Reputation(right, named)
    assert found.rate == (right + 1) / (named + 2)
    said = f"right in {right} of {named} such programs of other people"
    assert found.words == (said if named >= 8 else SELDOM)


def test_every_cause_that_is_named_says_it() -> None:
    for _, found in CASES.values():
        for cause in diagnose(found):
            expected: Any = reputation_of(cause.id, cause.sure).words
            assert cause.record == ("" if cause.id == "unknown" else expected)


def test_what_was_counted_can_be() -> None:
    assert {sure for _, sure in FIRST_RUNS} <= {"tested", "likely", "unclear"}
    assert {family for family, _ in FIRST_RUNS} <= {family_of(c) for c in CAUSES}
    assert all(0 <= right <= named for right, named in FIRST_RUNS.values())
