"""Programs with a known fault, really run: is their cause named?

A fixed subset that stays within the time of a test; NANWATCH_CORPUS=12 runs so many
programs of each cause. `make corpus` runs the whole of it into docs/diagnosis.md.
"""

from __future__ import annotations

import os

import pytest

from tb_nanwatch.diagnosis import Cause, Facts, diagnose
from tests.corpus.programs import CAUSES, CLEAN, CONTAINED, programs
from tests.corpus.renamed import longer, renamed
from tests.corpus.run import facts_from

PER_CAUSE = int(os.environ.get("NANWATCH_CORPUS", "2"))
SEED = 20


def decided(causes: list[Cause]) -> list[tuple[str, float, str]]:
    return [(c.id, c.confidence, c.fix) for c in causes]


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_named(cause: str) -> None:
    mine = [facts_from(p) for p in programs(SEED, PER_CAUSE) if p.cause == cause]
    assert len(mine) == PER_CAUSE
    named = [check(facts) for facts in mine]
    if cause == CLEAN:
        assert named == [CLEAN] * len(mine)
        return
    if cause == CONTAINED:
        assert set(named) <= {CLEAN, CONTAINED} and CONTAINED in named
        return
    # A fault may stay without consequence; then nothing is to be named.
    consequent = [n for n in named if n not in (CLEAN, CONTAINED)]
    assert consequent
    right = sum(n == cause for n in consequent)
    assert right >= len(consequent) - len(consequent) // 4, named


def check(facts: Facts) -> str:
    """Returns what is named; no name and no count of steps may change it."""
    causes = diagnose(facts)
    for found in causes:
        assert 0 <= found.confidence <= 1
        assert found.fix and found.evidence
    assert sum(found.confidence for found in causes) <= 1
    assert decided(diagnose(renamed(facts))) == decided(causes)
    assert decided(diagnose(longer(facts))) == decided(causes)
    return causes[0].id if causes else facts.status
