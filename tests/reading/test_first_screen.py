"""What stands first of a search, and what is told only to those who ask how sure it is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tb_nanwatch.reading.contract.searches import (
    Aborted,
    Cost,
    Finding,
    FirstScreen,
    SearchAnswer,
    SearchSummary,
)
from tb_nanwatch.reading.report.overview import attempts
from tb_nanwatch.reading.search.first_screen import first_screen
from tb_nanwatch.record.schema import CAUSES
from tb_nanwatch.wording.causes import LABELS, MEANINGS
from tb_nanwatch.wording.edit_text import BY_HAND

ANSWER = SearchAnswer(
    happened="diverged at epoch 1, batch 7",
    cause="learning rate too high",
    why="Learning rate too high. The learning rate is 0.31.",
    sure="tested",
    record="",
    fix="Lower the learning rate to 0.1.",
    tested="Tested: all 71 steps are finite.",
    where="`tf.math.square` in the loss",
    after="",
    count=4,
    of=4,
    whose="Trial #3",
    names=["Trial #3"],
    id="learning_rate",
    changed="a learning rate of 0.3 instead of 3",
)
FINDING = Finding(
    "s", "rate", "rate >= 0.5", (4, 5), (0, 19), 0.002, "hp.Float()", "Put it there.",
    "removes 4 of 4 bad",
    "units <= 48 fits the counts better.", "all of it",
)  # fmt: skip
COUNTS = "rate >= 0.5 went bad in 4 of 5 trials, elsewhere 0 of 19; corrected p = 0.002."


def search(**changes: Any) -> SearchSummary:
    made = SearchSummary(
        search="s",
        name="s",
        tuner="RandomSearch",
        objective="val_loss",
        direction="min",
        started=0.0,
        trials=24,
        by_status={"clean": 20, "diverged": 4},
        aborted=None,
        cost=Cost(100.0, 9.0, 0.09, "9 % of the time."),
        counted="No trial went bad.",
        verdict="No trial went bad.",
        answer=ANSWER,
        hparams=[],
    )
    return replace(made, **changes)


def test_a_condition_leads_and_its_statistics_stand_behind() -> None:
    shown = first_screen(search(), [FINDING], COUNTS, [], ["Trial #16"])
    assert shown.happened == "4 of 24 trials diverged"
    assert shown.why == (
        "Learning rate too high: 4 of the 5 trials with rate >= 0.5 went bad, "
        "0 of the 19 others."
    )
    assert shown.fix == "Narrow `rate` by this edit: it removes 4 of 4 bad."
    assert "overwrite=True" in shown.next
    assert shown.notes == ["Trial #16 went bad but has a score: do not use it."]
    first = replace(shown, more=[])
    assert not any(word in str(first) for word in ("p =", "units", "%", "71 steps"))
    assert shown.more[:2] == [COUNTS, FINDING.rivals]
    assert shown.more[-1] == "9 % of the time."
    assert (shown.edit, shown.paste) == (FINDING.edit, FINDING.where)
    # The word is that of the cause. What the experiment tested is the rate of one trial,
    # and not the edit: its numbers stand behind, and so does no second fix.
    assert shown.sure == "tested"
    assert shown.tested == (
        "Tested: Trial #3, run again with a learning rate of 0.3 instead of 3, stays finite."
    )
    assert any(ANSWER.tested in text for text in shown.more)
    assert not any(ANSWER.fix in text for text in (shown.fix, *shown.more))


def test_a_condition_that_may_be_chance_says_so() -> None:
    few = replace(FINDING, inside=(2, 2), outside=(0, 3), p_value=1.0)
    two = replace(ANSWER, count=2, of=2)
    hinted = search(trials=5, by_status={"clean": 3, "diverged": 2}, answer=two)
    shown = first_screen(hinted, [few], COUNTS, [], [])
    assert shown.why.endswith("0 of the 3 others. It may be chance.")
    assert shown.sure == "tested"  # of the cause, as everywhere
    proven = first_screen(hinted, [replace(few, p_value=0.01)], COUNTS, [], [])
    assert shown.why == f"{proven.why} It may be chance."


def test_the_cause_leads_where_the_counts_say_nothing_yet() -> None:
    few = "3 trials are too few to tell which hyperparameter is to blame."
    alone = replace(ANSWER, count=1, of=1, whose="Trial #1")
    by_status = {"clean": 2, "diverged": 1}
    shown = first_screen(
        search(trials=3, by_status=by_status, answer=alone), [], few, [], []
    )
    assert shown.happened == "Trial #1 of 3 diverged at epoch 1, batch 7"
    told = ("why", "fix", "tested")
    assert [getattr(shown, k) for k in told] == [getattr(ANSWER, k) for k in told]
    assert few in shown.more and few not in str(replace(shown, more=[]))


def test_what_lies_in_the_program_leads_before_a_condition() -> None:
    mend = f"4 of 4 bad trials alike: loss domain. {COUNTS}"
    shown = first_screen(search(), [FINDING], mend, [], [])
    assert shown.why == ANSWER.why and shown.next == ""
    assert "All 4 bad trials alike" in shown.notes[0]
    # What is to be mended first has no edit of the space beside it.
    assert (shown.edit, shown.paste) == ("", "")


def test_what_lies_in_the_data_is_the_first_way_and_the_edit_the_other() -> None:
    data = replace(ANSWER, id="unscaled_data", fix="Scale both.")
    shown = first_screen(search(answer=data), [FINDING], COUNTS, [], [])
    assert shown.fix == (
        "Scale both. Or narrow `rate` by this edit: it removes 4 of 4 bad."
    )
    assert shown.edit == FINDING.edit


@pytest.mark.parametrize("known", ["tested", "likely", "unclear", ""])
def test_one_word_says_how_sure_the_cause_is(known: str) -> None:
    tested = ANSWER.tested if known == "tested" else ""
    answer = replace(ANSWER, sure=known, tested=tested)
    shown = first_screen(search(answer=answer), [FINDING], COUNTS, [], [])
    # The counts prove the condition, where nothing else is sure.
    assert shown.sure == {"tested": "tested"}.get(known, "likely")
    assert bool(shown.tested) == (known == "tested")


def test_a_loop_of_ones_own_gets_a_line_of_its_own_words() -> None:
    by_hand = replace(
        FINDING, edit='rate > 0.3 and opt == "sgd"', where=BY_HAND, saves="removes 4 of 4"
    )
    shown = first_screen(search(tuner=""), [by_hand], COUNTS, [], [])
    assert shown.fix == "Leave out these values of `rate`: that removes 4 of 4."
    assert shown.paste == BY_HAND and shown.edit == by_hand.edit
    assert shown.next == ""  # no search of KerasTuner's to run anew


@pytest.mark.parametrize(
    "message, said",
    [
        (
            "RuntimeError: Number of consecutive failures",
            "Search aborted: one trial failed",
        ),
        ("KeyboardInterrupt: ", "Search interrupted by hand after 24 trials"),
        ("ValueError: no\nmore", "Search ended by an exception after 24 trials: Val"),
    ],
)
def test_an_abort_says_how_the_search_ended(message: str, said: str) -> None:
    abort = Aborted(["0"], ["Trial #1"], ["why"], message, "Long.", "Short.")
    shown = first_screen(search(aborted=abort), [], "", [], [])
    assert shown.happened.startswith(said)
    assert shown.next == "Short."
    assert {"Trial #1: why.", "Long."} <= set(shown.more)


def test_a_search_that_went_well_says_each_thing_once() -> None:
    said = "No trial went bad. 2 failed."
    well = search(by_status={"clean": 24}, answer=None, cost=None, verdict=said)
    shown = first_screen(well, [], "", ["2 failed."], [])
    assert shown == FirstScreen(said)


def test_several_kinds_of_bad_are_listed() -> None:
    kinds = search(by_status={"runaway": 1, "diverged": 3, "clean": 20})
    said = "4 of 24 trials went bad: 1 runaway, 3 diverged"
    assert first_screen(kinds, [], "", [], []).happened == said


def test_each_attempt_is_told_apart() -> None:
    def run(trial: str | None, execution: int = 0, fit: int = 0, retry: int = 0) -> Any:
        return SimpleNamespace(
            search="s", run="r", trial_id=trial, execution=execution, fit=fit, retry=retry
        )

    two = [run("0", 0), run("0", 1, 0), run("0", 1, 1), run("1"), run(None, retry=1)]
    assert attempts(two) == [
        "exec 1/2", "exec 2/2 fit 1/2", "exec 2/2 fit 2/2", "", "retry 1",
    ]  # fmt: skip


def test_every_cause_has_a_meaning() -> None:
    assert set(MEANINGS) == set(LABELS) >= set(CAUSES)
