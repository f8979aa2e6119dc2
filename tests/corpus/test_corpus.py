"""Programs with a known fault, really run: is their cause named?

A fixed subset that stays within the time of a test; NANWATCH_CORPUS=12 runs so many
programs of each cause. `benchmarks/diagnosis.py` prints the whole confusion matrix.
"""

from __future__ import annotations

import os

import pytest

from tb_nanwatch.diagnosis import diagnose
from tests.corpus.programs import CAUSES, CLEAN, Program, programs
from tests.corpus.run import facts_from

PER_CAUSE = int(os.environ.get("NANWATCH_CORPUS", "2"))
SEED = 20


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_named(cause: str) -> None:
    mine: list[Program] = [p for p in programs(SEED, PER_CAUSE) if p.cause == cause]
    named = []
    for program in mine:
        causes = diagnose(facts_from(program))
        named.append(causes[0].id if causes else CLEAN)
        for found in causes:
            assert 0 <= found.confidence <= 1
            assert found.fix
    if cause == CLEAN:
        assert named == [CLEAN] * len(mine)
        return
    # A fault may stay without consequence; then nothing is to be named.
    consequent = [n for n in named if n != CLEAN]
    assert consequent
    right = sum(n == cause for n in consequent)
    assert right >= len(consequent) - len(consequent) // 4, named
