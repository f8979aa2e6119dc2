"""From sessions to compared trials, and into the report."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.context import RequestContext

from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.search.outcomes import trials_to_compare
from tb_nanwatch.record.schema import Lineage
from tests.reading.records import a_search, a_status, a_verdict, write
from tests.reading.searches import frontier
from tests.support.told import as_json, as_overview


def session(number: int = 1, **changes: Any) -> Session:
    status = a_status(number, **changes)
    return Session("run", status.session_id, status, state=status.state)


def bads(*sessions: Session) -> list[bool]:
    return [t.bad for t in trials_to_compare(sessions, {})]


def test_executions_of_a_trial_are_one_trial() -> None:
    first = session(1, trial_id="A")
    second = session(2, trial_id="A", execution=1, bad=True)
    assert bads(first, second) == [True]


def test_a_continued_trial_is_one_trial() -> None:
    first = session(1, trial_id="A")
    second = session(2, trial_id="B", lineage=Lineage("A"))
    third = session(3, trial_id="C", lineage=Lineage("B"), bad=True)
    other = session(4, trial_id="D", lineage=Lineage("gone"))
    assert bads(first, second, third, other) == [True, False]


def test_a_lineage_that_bites_its_tail_ends() -> None:
    a = session(1, trial_id="A", lineage=Lineage("B"))
    b = session(2, trial_id="B", lineage=Lineage("A"))
    assert len(bads(a, b)) == 2


def test_unknown_fates_are_left_out() -> None:
    assert bads(session(1, state="running"), session(2, status="unwatched")) == []
    assert bads(session(1, state="running", bad=True)) == [True]


def test_stalled_score_lost_runaway_and_diverged_are_bad_alike() -> None:
    statuses = ["clean", "contained", "stalled", "score_lost", "runaway", "diverged"]
    sessions = [session(i, trial_id=s, status=s) for i, s in enumerate(statuses)]
    assert bads(*sessions) == [False, False, True, True, True, True]


def test_the_report_holds_findings_verdict_and_rates(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    for i, trial in enumerate(frontier()):
        write(
            tmp_path / f"{i:04d}" / "execution0",
            a_status(i, bad=trial.bad, trial_id=f"{i:04d}", hparams=list(trial.hparams)),
            a_verdict(i, score=trial.score),
        )
    other = a_search(2)
    write(tmp_path / "other", a_status(99, trial_id="0099", search=other))
    full = as_json(overview(read().snapshot(RequestContext(), "")))
    (finding,) = full["findings"]
    assert finding["search"] == "search-1"
    assert finding["inside"] == [5, 5] and finding["outside"] == [0, 19]
    assert list(in_report(as_overview(full))["findings"][0]) == [
        *("search", "hparam", "condition", "inside", "outside", "p_value"),
        *("edit", "where", "saves", "rivals", "text"),
    ]
    shown = next(s for s in full["searches"] if s["search"] == "search-1")
    assert (
        "optimizer = sgd and learning_rate >= 0.1 went bad in 5 of 5" in shown["verdict"]
    )
    assert {"hparam": "optimizer", "label": "sgd", "bad": 5, "total": 11}.items() <= (
        shown["rates"][0].items()
    )
    out = io.StringIO()
    terminal.render(as_overview(full), out)
    assert (
        '\n        learning_rate = hp.Float("learning_rate", 1e-4, 1.5' in out.getvalue()
    )
