"""A condition that holds for all bad trials and no other is named, though it may be chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_nanwatch.reading.report import told
from tb_nanwatch.reading.search.analysis import analyse
from tb_nanwatch.reading.search.first_screen import first_screen
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import HParam
from tests.reading.test_first_screen import ANSWER, FINDING, search


def trials(gains: list[tuple[float, bool]], others: int = 6) -> list[ComparedTrial]:
    """Trials with a gain each, and other hyperparameters at random."""
    rng = np.random.default_rng(0)

    def number(name: str, value: float) -> HParam:
        return HParam(name, value, "float", min=0.0, max=3.0, sampling="linear")

    found = []
    for gain, bad in gains:
        hparams = [number("gain", gain)]
        hparams += [number(f"x{n}", float(rng.random())) for n in range(others)]
        cause: tuple[Any, ...] = ("gradient_amplification",) if bad else ()
        found.append(ComparedTrial(hparams, bad, None, None, *cause))
    return found


APART = [(0.1 * n, False) for n in range(6)] + [(2.0 + 0.1 * n, True) for n in range(4)]
SAID = "All 4 trials with gain >= 2.0 went bad, 0 of the 6 others. It may be chance."


def test_ten_trials_that_a_condition_parts_without_an_exception() -> None:
    found = analyse("s", trials(APART))
    assert not found.findings and found.perhaps == SAID


@pytest.mark.parametrize(
    "gains",
    [
        [*APART, (2.5, False)],  # one that lived
        [*APART, (0.15, True)],  # one that died elsewhere
        APART[4:9],  # so few that chance would often part them
        [*APART[:6], (2.0, True)],  # one alone
        [(g, False) for g, _ in APART],
    ],
    ids=["lived", "died", "few", "one", "none"],
)
def test_it_stays_silent(gains: list[tuple[float, bool]]) -> None:
    assert analyse("s", trials(gains)).perhaps == ""


def test_what_the_counts_prove_is_a_finding() -> None:
    more = [*APART, *[(0.01 * n, False) for n in range(20)]]
    found = analyse("s", trials(more))
    assert found.findings and found.perhaps == ""


def test_chance_alone_seldom_has_a_word() -> None:
    rng = np.random.default_rng(1)
    said = 0
    for _ in range(40):
        bad = rng.permutation([True] * 4 + [False] * 6)
        gains = list(zip(rng.random(10).tolist(), bad.tolist(), strict=True))
        said += bool(analyse("s", trials(gains)).perhaps)
    assert said <= 8  # 4 are expected at most


def test_the_first_screen_and_the_card_name_it_behind_the_cause() -> None:
    of_one = search(trials=10, by_status={"clean": 6, "diverged": 4})
    shown = first_screen(of_one, [], "10 trials are too few.", [], [], SAID)
    assert shown.why == f"{ANSWER.why} {SAID}" and shown.edit == ""
    card = told.search_card(replace(of_one, first=shown), [], [])
    assert card.parts[0].text == f"{ANSWER.why} (4 of 4 bad alike; Trial #3) {SAID}"
    # A condition that leads is told already.
    led = first_screen(of_one, [FINDING], FINDING.condition, [], [], "")
    assert SAID not in str(led)
