"""Of one search terminal, page and Markdown tell one fix, one edit and one word for how sure."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report import terminal, told
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.record.schema import HParam
from tb_nanwatch.wording import card
from tb_nanwatch.wording.trial_names import spoken_name
from tests.reading.records import CTX, a_search, a_status, a_verdict, write
from tests.reading.searches import frontier
from tests.reading.test_page import read_page

OF_ONE = "Lower the learning rate to 0.0123."
TESTED = "Tested: run again with 0.0123, all 71 steps are finite."


def made(
    path: Path, read: Callable[..., Reader], cause: str = "learning_rate", sure: str = ""
) -> Overview:
    """Returns the overview of a search whose bad trials all died of one cause."""
    for i, trial in enumerate(frontier()):
        write(
            path / f"{i:04d}" / "execution0",
            a_status(i, bad=trial.bad, trial_id=f"{i:04d}", hparams=list(trial.hparams)),
            a_verdict(i, trial_id=f"{i:04d}", score=trial.score),
        )
    snapshot = read().snapshot(CTX, "")
    tested = TESTED if sure == "tested" else ""
    found = [Cause(cause, 0.9, ["where", "It is 1.4."], OF_ONE, sure=sure, tested=tested)]
    causes = {(s.run, s.id): found for s in snapshot.sessions if s.status.onset}
    return overview(snapshot, causes)


def shown(full: Overview) -> dict[str, str]:
    """Returns what each way of telling tells, its spaces made one."""
    texts = {"page": read_page(page(full, {}, now=0)).text}
    for name, every in (("terminal", False), ("terminal, all", True)):
        out = io.StringIO()
        terminal.render(full, out, every=every)
        texts[name] = out.getvalue()
    texts["markdown"] = card.markdown(told.cards_of(full))
    return {name: " ".join(text.split()) for name, text in texts.items()}


@pytest.mark.parametrize("sure", ["tested", "likely"])
def test_the_fix_of_one_trial_is_not_told_beside_the_edit(
    sure: str, tmp_path: Path, read: Callable[..., Reader]
) -> None:
    full = made(tmp_path, read, sure=sure)
    (search,) = full.searches
    assert search.first.sure == sure
    for name, text in shown(full).items():
        assert OF_ONE not in text, name
        assert text.count('hp.Float("learning_rate_sgd", 1e-4, 0.05') == 1, name
        assert ("not tested" in text) == (sure != "tested"), name
        assert ("Tested: Trial" in text) == (sure == "tested"), name


def test_where_the_data_are_to_blame_both_ways_are_told(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    full = made(tmp_path, read, cause="unscaled_data", sure="likely")
    for name, text in shown(full).items():
        assert text.count(OF_ONE) == 1, name
        assert "Or narrow " in text, name


def test_searches_of_which_there_is_the_same_good_news_share_a_line(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    for i, name in enumerate(("one", "two", "three")):
        write(tmp_path / name, a_status(i, search=a_search(i, name=name)), a_verdict(i))
    out = io.StringIO()
    full = overview(read().snapshot(CTX, ""))
    terminal.render(full, out)
    assert out.getvalue().count("No trial went bad.") == 1
    assert all(name in out.getvalue().splitlines()[0] for name in ("one", "two", "three"))
    out = io.StringIO()
    terminal.render(full, out, every=True)
    assert out.getvalue().count("No trial went bad.") == 3


def test_older_searches_are_told_in_short(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    for i in range(4):
        status = a_status(i, bad=True, search=a_search(i, name=f"search_{i}"))
        write(tmp_path / str(i), status, a_verdict(i, score=math.nan))
    full = overview(read().snapshot(CTX, ""))
    texts = []
    for every in (False, True):
        out = io.StringIO()
        terminal.render(full, out, every=every)
        texts.append(out.getvalue())
    # Where it began is told of the two newest alone; why and what to change of all.
    assert [text.count("\n  Where  ") for text in texts] == [2, 4]
    assert [text.count("\n  Fix    ") for text in texts] == [4, 4]


def test_a_loop_of_ones_own_is_told_which_values_to_leave_out(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    for i in range(12):
        hparams = [
            HParam("lr", 10.0 ** (i - 6), "number"),
            HParam("opt", "sgd", "text"),
        ]
        status = a_status(i, bad=i >= 6, search=None, trial_id=None, hparams=hparams)
        write(tmp_path / f"{i:02d}", status)
    full = overview(read().snapshot(CTX, ""))
    for name, text in shown(full).items():
        assert "skip the values for which this is true:" in text, name
        assert "lr > 0.3" in text, name
    # A number alone would read as a count.
    assert "Bad: run 06, 07, 08, 09, 10, 11." in shown(full)["terminal"]


@pytest.mark.parametrize(
    "name, said",
    [("3", "run 3"), ("12/0", "run 12/0"), ("my_fit", "my_fit"), ("a/3", "a/3")],
)
def test_a_number_is_spoken_of_as_a_run(name: str, said: str) -> None:
    assert spoken_name(name) == said
