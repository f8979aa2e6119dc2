"""One of a thing is told in the singular, and nothing grew where no step came between."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tb_nanwatch.diagnosis.measured import measure
from tb_nanwatch.diagnosis.ranking import diagnose
from tb_nanwatch.diagnosis.rules.growth import growth_candidates
from tb_nanwatch.diagnosis.tested import confirmed_text
from tb_nanwatch.record.schema import Experiment, PostMortem
from tb_nanwatch.wording import (
    abort_text,
    damage_text,
    finding_text,
    first_screen_text,
    outcomes_text,
    report_text,
    stability_text,
)
from tb_nanwatch.wording.counts import counted
from tests.diagnosis.records import facts, stalled

NOUN = r"(?:ranges )?(?:step|trial|other|run|record|boundarie|boundary)"


def told(n: int) -> str:
    """What is said of `n` trials, steps, records, runs and boundaries."""
    tried = Experiment(
        "learning_rate/10", "", True, n, "", first=1, learns=True, value=0.1
    )
    run = replace(facts("total", step=2), postmortem=PostMortem(planned_steps=2 + 2 * n))
    return " ".join(
        [
            abort_text.in_a_row_text((n, 0), n, None, "", 10, True),
            abort_text.in_a_row_text((n, n), n, None, "", 10, True),
            confirmed_text(run, "learning_rate", tried),
            damage_text.duplicates_text(n, "ranges"),
            damage_text.sampling_text(n),
            damage_text.unreadable_text(n, "ranges", "no"),
            finding_text.finding_text("x", "0.1", False, "", 2, n),
            first_screen_text.aborted_text(n, True),
            first_screen_text.condition_went_bad_text("trial", "a = b", (n, n), (0, n)),
            first_screen_text.condition_went_bad_text("trial", "a = b", (0, n), (n, n)),
            outcomes_text.more_runs_text(n, 0),
            report_text.boundaries_left_text(n),
            report_text.kept_text(0.5, n, False),
            report_text.lane_text(n, 0),
            stability_text.afterwards_text(n, n, [0] * n, n, (0.0, 0.0)),
            stability_text.up_to_text(n),
        ]
    )


def test_one_is_told_in_the_singular() -> None:
    said = told(1)
    assert not re.findall(rf"\b1 (?:\w+ )?{NOUN}s\b[^.]*", said)
    assert not re.findall(r"\b[Aa]ll 1\b|\bof the 1\b|\b1 in a row|trial in a row", said)
    for words in ("The last trial failed", "This trial went bad", "after one it gives"):
        assert words in said
    assert "with a learning rate of 0.1 instead of 1, it is finite" in said
    assert "the one trial with a = b went bad, the other one did not" in said


def test_several_are_told_in_the_plural() -> None:
    said = told(3)
    assert not re.findall(rf"\b3 {NOUN}\b(?! in )", said)
    for words in ("3 trials in a row failed", "all 3 trials", "0 of the 3 others"):
        assert words in said
    assert (counted(0, "step"), counted(1, "search", "es")) == ("0 steps", "1 search")


@pytest.mark.parametrize("step", [0, 1, 7])
def test_nothing_grew_before_the_first_step(step: int) -> None:
    grown = {"dense_1": 1e30, "prediction": 1e30, "weight dense/kernel": 1e20}
    sizes = {"sizes" if not step else "later": grown}
    said = " ".join(diagnose(facts("total", step=step, bad=(0, 1), **sizes))[0].evidence)
    assert "0 steps" not in said and "1 steps" not in said
    assert ("in its first step: nothing had grown before." in said) == (step == 0)
    assert (f"-fold over the first step after {counted(step, 'step')}." in said) == (
        step > 0
    )


def test_what_ran_away_from_its_first_step_on_says_so() -> None:
    run = replace(facts("total", step=0), status="runaway", origin=None)
    (cause, *_) = growth_candidates(measure(run), 1e9)
    assert "1e+09-fold over the first step, from that step on." in cause.evidence[-1]


@pytest.mark.parametrize("growth", [1.0, 1.002, 1.5])
def test_what_had_not_grown_is_not_told_as_a_growth(growth: float) -> None:
    run = measure(facts("dense_1", step=40, bad=(0, 1), optimizer={"learning_rate": 9.0}))
    (cause, *_) = growth_candidates(run, growth)
    said = " ".join(cause.evidence)
    assert ("1-fold" in said, "had not grown after 40 steps" in said) == (
        (False, True) if growth < 1.005 else (False, False)
    )


def test_a_stall_of_one_step() -> None:
    run = stalled()
    assert run.scaling is not None
    one = replace(run, steps=1, scaling=replace(run.scaling, skipped=1))
    said = " ".join(diagnose(one)[0].evidence)
    assert "1 of 1 step was skipped" in said
    assert "70 of 100 steps were skipped" in " ".join(diagnose(run)[0].evidence)
