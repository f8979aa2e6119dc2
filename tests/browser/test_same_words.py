"""Tab, terminal and page say the same of one log: names, places, tensors, counts, the best."""

import io
import pathlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tb_nanwatch.reading.report import logs
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.reading.report.tables import table_of
from tb_nanwatch.reading.report.terminal import render
from tb_nanwatch.record.schema import BadTensor, Position
from tb_nanwatch.wording.places import counts_text, position_text, probe_text, short_text
from tests.browser.tab import Tab
from tests.reading.records import a_session, a_status, a_verdict, write

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ORIGIN = BadTensor("layer_state", "bn/mean", 3, 12, 0, size=2048)
PLACES = (Position("train", 1037, 1099, 17), Position("validation", 1037, 1099, 17))
# What once was said of them elsewhere.
OTHER_WORDS = (
    "validation in epoch",
    "epoch 1,100",
    "state bn/mean",
    "3 NaN, 12 Inf",
    "execution 1",
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A search: a trial of two executions that went bad, a runaway with the best score."""
    path = tmp_path_factory.mktemp("words")
    for i, onset in enumerate(PLACES):
        bad = replace(
            a_status(i + 1, bad=True, onset=onset, origin=ORIGIN, steps=1200),
            trial_id="0",
            number=1,
            execution=i,
        )
        write(path / "0" / f"execution{i}", a_session(i + 1), bad)
    runaway = replace(
        a_status(3, bad=True, onset=PLACES[0], status="runaway", steps=1200),
        trial_id="1",
        number=2,
    )
    write(path / "1" / "execution0", a_session(3), runaway, a_verdict(3, score=0.1))
    clean = replace(a_status(4, steps=1200), trial_id="2", number=3)
    write(path / "2" / "execution0", a_session(4), clean, a_verdict(4, score=0.5))
    return path


def printed(found: logs.Logs) -> str:
    out = io.StringIO()
    render(found.full, out, every=True)
    # A wide terminal has a column for the tensor, too.
    full = found.full
    wide = table_of(full.runs, full.findings, full.searches[0].rates, 200)
    return " ".join([*out.getvalue().split(), *(c for row in wide.rows for c in row)])


def paged(found: logs.Logs) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page(found.full, found.lanes())).split())


def of_body(tab: Tab) -> str:
    """What the tab says now, titles included."""
    text: str = tab.frame.evaluate(
        """() => document.body.innerText + " " +
          [...document.querySelectorAll("[title]")].map((e) => e.title).join(" ")"""
    )
    return " ".join(text.split())


def test_all_three_say_the_same(
    browser: Any, log: pathlib.Path, serve: Callable[[pathlib.Path, str], str]
) -> None:
    found = logs.read(str(log))
    tab = Tab(browser, serve(log, "false"))
    tab.frame.wait_for_selector(".row", timeout=60_000)
    shown = {"terminal": printed(found), "page": paged(found), "tab": ""}
    for row in range(tab.frame.locator(".row").count()):
        tab.frame.locator(".row").nth(row).click()
        tab.frame.wait_for_selector("[data-fact=onset], .detail")
        tab.page.wait_for_timeout(300)
        shown["tab"] += of_body(tab)
    for place in PLACES:
        assert position_text(place) in shown["page"]
        assert short_text(place) in shown["terminal"]
        assert position_text(place) in shown["tab"]
    said = (
        probe_text(ORIGIN.kind, ORIGIN.name),
        counts_text(ORIGIN.num_nan, ORIGIN.num_pos_inf, 0, ORIGIN.size),
        "exec 1/2",
        "exec 2/2",
    )
    for where, text in shown.items():
        assert not [words for words in said if words not in text], where
        assert not [words for words in OTHER_WORDS if words in text], where
