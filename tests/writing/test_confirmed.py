"""How `benchmarks.confirmed` counts what experiments said of a cause."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import confirmed
from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.postmortem.experiments import TOO_SHORT
from tb_nanwatch.record.schema import Experiment, Position, PostMortem


def facts(*tried: Experiment, step: int = 5, status: Any = "diverged") -> Facts:
    control = Experiment("unchanged", "nothing changed", steps=6)
    found = PostMortem(experiments=[control, *tried] if tried else [])
    onset = Position("train", step, 0, step)
    return Facts(status, onset if status != "clean" else None, postmortem=found)


def rate(finite: bool = False, **more: Any) -> Experiment:
    return Experiment("learning_rate/10", "a lower rate", finite, 6, **more)


SPENT = facts()
assert SPENT.postmortem is not None
SPENT.postmortem.untried = "the time for experiments is spent; trial 3, ..."
SHORT = facts(rate(tried=False, note="the step went bad before its update"))
assert SHORT.postmortem is not None
SHORT.postmortem.untried = TOO_SHORT
NO_TIME = "not tried: no time was left"


@pytest.mark.parametrize(
    ("run", "sure", "outcome"),
    [
        (facts(rate(True, learns=True)), "tested", "confirmed"),
        (facts(rate()), "likely", "tried: went bad all the same"),
        (
            facts(rate(True, learns=False)),
            "likely",
            "tried: finite, and it did not learn",
        ),
        (facts(rate(tried=False, note="no time was left")), "likely", NO_TIME),
        (facts(rate(tried=False, note="a schedule")), "likely", "not tried: a schedule"),
        (facts(Experiment("clip", "")), "likely", "not tried: no such experiment"),
        (SPENT, "likely", NO_TIME),
        (SHORT, "likely", NO_TIME),
        (facts(), "likely", "not tried: no reason is given"),
        (facts(rate(), step=200), "likely", "bad after step 200"),
        (facts(status="clean"), "likely", "not bad"),
    ],
)
def test_outcomes(
    monkeypatch: pytest.MonkeyPatch, run: Facts, sure: str, outcome: str
) -> None:
    named = [] if run.status == "clean" else [Cause("learning_rate", 0.9, sure=sure)]
    monkeypatch.setattr(confirmed, "diagnose", lambda facts: named)
    assert confirmed.outcome_of("learning_rate", run) == ("learning_rate", outcome)
    assert confirmed.outcome_of(None, run)[1] == outcome
    other = confirmed.outcome_of("loss_domain", run)[1]
    assert other == ("not bad" if run.status == "clean" else "another cause")
    wrong = confirmed.outcome_of("unscaled_inputs", run)[1]
    assert (
        wrong == "tested as learning_rate" if sure == "tested" else wrong != "confirmed"
    )


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    named = [Cause("learning_rate", 0.9, sure="likely")]
    monkeypatch.setattr(confirmed, "diagnose", lambda facts: named)
    counts = confirmed.tally(
        [
            ("demo", None, facts(rate())),
            ("demo", None, SPENT),
            ("demo", "loss_domain", SPENT),
            ("corpus", "learning_rate", facts(rate(), step=999)),
        ]
    )
    counts["corpus", "learning_rate", "confirmed"] += 3
    text = confirmed.report(counts)
    assert "| corpus | learning_rate | 3 | 3 |  |  |  |" in text
    assert "| demo | learning_rate | 2 |  | 1 |  | 1 |" in text
    assert "| all | | 5 | 3 | 1 |  | 1 |" in text
    assert "Confirmed: 3 of the 4 whose steps fit the time (75%); 1 of 5 did not" in text
    assert "- 1: tried: went bad all the same" in text
    assert "999" not in text and "another cause" not in text
