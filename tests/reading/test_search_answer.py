"""What the bad trials of a search died of, as one answer."""

from __future__ import annotations

from typing import Any

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.log.grouping import gather
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report.overview import overview as overview_of
from tb_nanwatch.record.schema import HParam
from tests.reading.records import a_status
from tests.support.told import as_json


def overview(*trials: list[Cause] | None, **changes: Any) -> dict[str, Any]:
    """The overview of a search whose trials died of these causes; None stayed clean."""
    sessions, known = [], {}
    for number, causes in enumerate(trials, 1):
        status = a_status(number, bad=causes is not None, **changes)
        run = f"{number:04d}/execution0"
        sessions.append(Session(run, status.session_id, status, state=status.state))
        if causes is not None:
            known[run, status.session_id] = causes
    return as_json(overview_of(Snapshot(sessions, []), known))


def answer(*trials: list[Cause] | None, **changes: Any) -> dict[str, Any] | None:
    found: dict[str, Any] | None = overview(*trials, **changes)["searches"][0]["answer"]
    return found


def cause(name: str, sure: str = "likely", fix: str = "Mend it.") -> list[Cause]:
    return [Cause(name, 0.9, ["where", "why"], fix, sure=sure, reasons=["why"])]


def test_it_is_that_of_the_surest_trial_of_the_commonest_cause() -> None:
    found = answer(
        cause("learning_rate", fix="To 0.1."),
        cause("learning_rate", "tested", "To 0.2."),
        cause("loss_domain", "tested"),
        None,
    )
    assert found is not None
    assert (found["count"], found["of"], found["fix"]) == (2, 3, "To 0.2.")
    assert found["cause"] == "learning rate too high" and found["sure"] == "tested"
    assert found["whose"] == "Trial 0002" and found["names"] == [
        "Trial 0001",
        "Trial 0002",
    ]
    assert found["why"] == "Learning rate too high. why"


def test_a_known_cause_answers_where_most_are_unknown() -> None:
    unknown = cause("unknown", "")
    found = answer(unknown, unknown, cause("nonfinite_data"))
    assert found is not None and (found["count"], found["of"]) == (1, 3)
    alone = answer(unknown)
    assert alone is not None and (alone["cause"], alone["sure"]) == ("unknown", "")


def test_a_search_in_which_nothing_went_bad_has_none() -> None:
    assert answer(None, None) is None


def by_hand(*runs: tuple[float, bool]) -> dict[str, Any]:
    """The overview of runs without a tuner in one directory, each with a rate of its own."""
    sessions = []
    for number, (rate, bad) in enumerate(runs):
        hparams = [HParam("rate", rate, "number")]
        status = a_status(number, bad=bad, search=None, trial_id=None, hparams=hparams)
        sessions.append(Session(f"{number}", status.session_id, status, state="finished"))
    gather(sessions)
    return as_json(overview_of(Snapshot(sessions, [])))


def test_runs_by_hand_with_hyperparameters_are_compared() -> None:
    found = by_hand(*[(0.1 * 1.1**n, False) for n in range(8)], (5.0, True), (6.0, True))
    (search,) = found["searches"]
    assert search["search"] == "by-hand:"
    assert search["verdict"].startswith("2 of 10 trials went bad")
    assert search["rates"], "how often each value went bad is counted"
    assert search["answer"]["whose"] in ("run 8", "run 9")
    for finding in found["findings"]:  # there is no space whose code could be edited
        assert "hp." not in finding["edit"] and finding["edit"].startswith("rate > ")


def test_one_run_by_hand_is_compared_with_nothing() -> None:
    found = by_hand((0.1, True))
    assert found["searches"][0]["rates"] == [] and found["findings"] == []


def test_of_those_as_sure_the_mildest_value_answers_for_all() -> None:
    died = [cause("learning_rate", "tested") for _ in range(3)]
    for (top,), rate in zip(died, (0.9, 0.2, 0.4), strict=True):
        top.about = rate
    found = answer(*died)
    assert found is not None and found["whose"] == "Trial 0002"
    # What one of them needed to be tried with is low enough for all.
    for (top,), held in zip(died, (0.03, 0.1, 0.1), strict=True):
        top.held = held
    found = answer(*died)
    assert found is not None and found["whose"] == "Trial 0001"
