"""`tb_nanwatch.report`, Markdown, and what is left out where a report is passed on."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

import tb_nanwatch
from tb_nanwatch.errors import NanWatchError
from tb_nanwatch.reading.cli import main
from tb_nanwatch.record.schema import Link, Outlier, Since
from tb_nanwatch.wording import card
from tb_nanwatch.wording.card import Card, Part
from tb_nanwatch.wording.row_values import LEFT_OUT, NOTE
from tests.reading.records import (
    a_post_mortem,
    a_search,
    a_session,
    a_status,
    a_verdict,
    session_id,
    write,
)
from tests.reading.test_imports import run_blocked
from tests.reading.test_page import read_page

# The one number of one row; nothing else in the log is like it.
SECRET = 73519.25


@pytest.fixture
def secretive(tmp_path: Path) -> Path:
    """A search in which one row's value made a trial diverge."""
    found = a_post_mortem(
        2,
        chain=[
            Link("denominator", 0.0, 0.0, 12.0, "operation", "tf.abs", row=5),
            Link("argument", SECRET, SECRET, SECRET, "data", "label", row=5, column=[3]),
        ],
        outliers=[
            Outlier("label", [5], 5, [3], SECRET, usual=12.0, batches=3, size=32),
        ],
        rows=[5],
        since=Since(3, 0, 1.0, 12.0, 2, True),
    )
    write(tmp_path / "0001" / "execution0", a_status(1), a_verdict(1))
    write(
        tmp_path / "0002" / "execution0",
        a_session(2),
        dataclasses.replace(a_status(2, bad=True), number=2),
        a_verdict(2, tuner_status="FAILED", score=None),
        found,
    )
    return tmp_path


def holds_secret(text: str) -> bool:
    return re.search(r"7\.?35|73,?519", text) is not None


def test_it_shows_itself_as_text_and_as_html(secretive: Path, tmp_path: Path) -> None:
    found = tb_nanwatch.report(secretive)
    assert repr(found) == found.answer
    assert found.answer.startswith("NaN Watch: project: 1 of 2 trials diverged.")
    assert "Trial #2" in found.answer and "\n  Fix    " in found.answer
    assert max(map(len, found.answer.splitlines())) <= 80
    shown = found._repr_html_()
    reading = read_page(shown)
    assert not {"script", "img", "link", "iframe"} & set(reading.tags)
    assert not re.search(r"https?:|url\(|@import", shown)
    assert "Trial #2" in reading.text and "Fix" in reading.text
    page = tmp_path / "x.html"
    found.save(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_its_dictionary_is_what_the_command_prints(
    secretive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(secretive), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == tb_nanwatch.report(secretive).to_dict()
    assert main(["report", str(secretive), "--markdown"]) == 0
    assert capsys.readouterr().out == tb_nanwatch.report(secretive).markdown


def test_nothing_there_and_nowhere_to_write_are_said(
    secretive: Path, tmp_path: Path
) -> None:
    with pytest.raises(NanWatchError, match="does not exist"):
        tb_nanwatch.report(tmp_path / "nowhere")
    with pytest.raises(NanWatchError, match="cannot write the page"):
        tb_nanwatch.report(secretive).save(tmp_path / "no" / "x.html")


def test_no_framework_is_needed(secretive: Path) -> None:
    code = """
        import sys
        import tb_nanwatch
        print(tb_nanwatch.report(sys.argv[1]))
    """
    done = run_blocked(code, str(secretive))
    assert done.returncode == 0, done.stderr
    assert "Trial #2" in done.stdout


# --- Values of a row -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["--json", "--markdown", "--html=-"])
def test_a_rows_value_is_left_out_unless_asked_for(
    secretive: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    assert main(["report", str(secretive), how]) == 0
    out = capsys.readouterr().out
    assert not holds_secret(out)
    if how == "--json":
        assert json.loads(out)["with_data"] is False
    else:  # said where it is left out
        assert LEFT_OUT in out and NOTE in out
    assert "row 5" in out
    assert main(["report", str(secretive), how, "--with-data"]) == 0
    out = capsys.readouterr().out
    assert holds_secret(out)
    assert LEFT_OUT not in out


def test_the_terminal_shows_it(
    secretive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(secretive)]) == 0
    out = capsys.readouterr().out
    assert holds_secret(out) and LEFT_OUT not in out


def test_a_notebook_is_passed_on_too(secretive: Path) -> None:
    found = tb_nanwatch.report(secretive)
    for text in (repr(found), found._repr_html_(), found.markdown):
        assert not holds_secret(text)
    assert NOTE in found._repr_html_()
    assert holds_secret(repr(tb_nanwatch.report(secretive, with_data=True)))


# --- The tab's button ----------------------------------------------------------------

BASE = "/data/plugin/nanwatch/markdown"


def test_the_tab_copies_the_same(secretive: Path, serve: Callable[..., Client]) -> None:
    client = serve(secretive)
    body = client.get(BASE, query_string={"search": "search-1"}).get_json()
    assert body == {"markdown": tb_nanwatch.report(secretive).markdown}
    run = {"run": "0002/execution0", "session": session_id(2)}
    body = client.get(BASE, query_string=run).get_json()
    assert body["markdown"].startswith("**❌ NaN Watch: Trial `#2` diverged at ")
    assert not holds_secret(body["markdown"])
    assert client.get(BASE, query_string={"search": "none"}).status_code == 404
    assert client.get(BASE).status_code == 400


# --- Markdown -----------------------------------------------------------------------


def test_markdown_is_short_for_a_run_and_a_search(tmp_path: Path) -> None:
    write(tmp_path / "a", a_status(1, bad=True, search=None, trial_id=None))
    alone = tb_nanwatch.report(tmp_path).markdown
    assert alone.startswith("**❌ NaN Watch: a diverged at epoch 2, batch 13.")
    write(tmp_path / "b", a_status(2, search=a_search()))
    both = tb_nanwatch.report(tmp_path).markdown
    assert both.count("**❌") == 1 and both.count("**✅") == 1
    assert len(both.splitlines()) <= 15


def a_card(text: str) -> Card:
    return Card(text, True, (Part("Why", text, text),), (text,))


@given(st.text(max_size=60))
def test_no_text_leaves_its_place(text: str) -> None:
    """In Markdown it opens no element, and calls nobody; in HTML it is text."""
    drawn = card.markdown([a_card(text)])
    code = re.sub(r"(?ms)^  (`{3,})python\n.*?\n  \1$", "", drawn)
    code = re.sub(r"`[^`\n]*`", "", code)
    assert not re.search(r"(?<!\\)<|@\w|#\d|(?<!\\)\]\(", code)
    read_page(card.fragment([a_card(text)]))
    for line in card.printed(a_card(text)):
        assert line.isprintable()


def test_many_runs_are_counted(tmp_path: Path) -> None:
    for i in range(12):
        status: Any = a_status(i, bad=i == 11, search=None, trial_id=None, hparams=[])
        write(tmp_path / f"run{i:02}", status)
    said = tb_nanwatch.report(tmp_path).answer
    assert said.startswith("NaN Watch: run11 diverged")
    assert "4 more runs, 0 of them bad." in said
