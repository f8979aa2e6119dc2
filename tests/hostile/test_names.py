"""Names that somebody chose with bad intent are text everywhere they are shown."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_nanwatch.reading.cli import main
from tb_nanwatch.record import schema, strict_json
from tb_nanwatch.record.schema import (
    Condition,
    FlightRecord,
    HParam,
    Lineage,
    Probe,
    SessionRecord,
)
from tests.browser.conftest import serve  # noqa: F401, a fixture
from tests.browser.tab import Tab
from tests.hostile.conftest import Tally
from tests.reading.records import (
    a_bad_tensor,
    a_ranges,
    a_search,
    a_status,
    a_verdict,
    an_events,
    session_id,
    write,
)

EVIL = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "'-alert(1)-'",
    "javascript:window.pwned=1",
    "</style></title></textarea><svg onload=window.pwned=1>",
    "\x1b[31mred\x1b]0;title\x07\x9b2J",
    "a\r\nb\tc\x00d\x7f\u2028e",
    "\u202egnp.exe\u2066\u200f",
    "../../../etc/passwd",
    '=HYPERLINK("http://evil")',
    "@SUM(1+1)|cmd",
    "\ud800lone\udfff",
    "{{7*7}}${7*7}#{7*7}%s%n",
    "[bold red]markup[/]",
    "n" * 10_000,
    "__proto__",
    "constructor",
)
BAD = {0, 2, 4, 6, 8}


def one(i: int) -> list[Any]:
    """The records of a trial that is called `EVIL[i]` wherever it has a name."""
    evil, other = EVIL[i], EVIL[(i + 1) % len(EVIL)]
    bad = i in BAD
    number = i + 1
    space = {"values": [evil, other], "conditions": [Condition(other, [evil])]}
    hparams = [
        HParam(evil, evil, "choice", **space),
        HParam("rate", 10.0 if bad else 0.01 * number, "float", min=1e-4, max=100.0),
        HParam(f"{other}!", number, "int", min=0, max=99, sampling=evil),
    ]
    status = a_status(
        number,
        bad=bad,
        run=evil,
        trial_id=evil,
        worker=evil,
        hparams=hparams,
        search=a_search(1, name=evil, tuner=evil, objective=evil, oracle=evil),
        lineage=Lineage(trial_id=other),
        state="failed" if i % 3 == 0 else "stopped",
        stopped_by=evil,
        error_type=evil,
        error_message=evil,
        closest={evil: 0.5},
        written={"session": 1, "ranges": 1, "events": 1, "flight": 1},
        **({"origin": a_bad_tensor(name=evil)} if bad else {}),
    )
    probes = [Probe("gradient", evil, other, evil), Probe("weight", other, evil)]
    session = SessionRecord(
        session_id(number),
        0,
        train_probes=probes,
        validation_probes=probes,
        model=evil,
        optimizer={"class_name": evil, evil: evil},
        loss=evil,
        precision=evil,
        versions={evil: evil},
        notes=[evil],
    )
    events = an_events(number, 0, 0)
    [episode, *_] = events.episodes
    first, *others = episode.tensors
    episode.tensors = [dataclasses.replace(first, name=evil), *others]
    flight = FlightRecord(
        session_id(number),
        0,
        phase="train",
        steps=np.arange(4),
        rms=np.full((4, 2), 1.0, np.float32),
        full_steps=np.array([3]),
        stats=np.ones((1, 2, len(schema.RANGE_COLUMNS)), np.float32),
        counts=np.zeros((1, 2, 3), np.int64),
    )
    verdict = a_verdict(
        number,
        trial_id=evil,
        tuner_status="FAILED" if bad else "COMPLETED",
        message=evil,
        aborted=evil if i == 8 else None,
    )
    return [
        status,
        session,
        a_ranges(number, 0, [(0, 36), (37, 40)]),
        events,
        flight,
        verdict,
    ]


def directory(i: int) -> str:
    """Returns the evil name as far as a file system takes it."""
    name = EVIL[i].replace("/", "∕").replace("\x00", "")[:60]
    return name.encode("utf-8", "replace").decode()


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    for i in range(len(EVIL)):
        write(root / f"{i:02d}{directory(i)}" / "execution0", *one(i))
    return root


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(list(arguments))
    out = capsys.readouterr()
    assert code == 0, out.err
    return out.out


def test_json_holds_every_name_as_it_was(
    logdir: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    report = json.loads(printed(capsys, "report", str(logdir), "--json"))
    shown = {run["trial_id"] for run in report["runs"]}
    assert shown == {strict_json.json_safe(evil) for evil in EVIL}
    assert {run["status"] for run in report["runs"]} == {"clean", "diverged"}
    tally.add("hostile names in every field", len(EVIL))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("out", [io.StringIO, Terminal], ids=["pipe", "terminal"])
def test_no_terminal_obeys_a_name(
    out: Any, logdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer, errors = out(), io.StringIO()  # no bar is drawn, whose signs are its own
    monkeypatch.setattr(sys, "stdout", buffer)
    monkeypatch.setattr(sys, "stderr", errors)
    assert main(["report", str(logdir), "--all"]) == 0
    text = buffer.getvalue() + errors.getvalue()
    assert "<script>window.pwned=1</script>" in text
    if out is io.StringIO:  # in a terminal the cells are folded
        assert "[bold red]markup[/]" in text
    two = sorted(p.name for p in logdir.iterdir())[:2]
    assert main(["compare", str(logdir), *(f"{name}/execution0" for name in two)]) == 0
    assert "<script>" in buffer.getvalue()[len(text) :]
    rest = text = buffer.getvalue() + errors.getvalue()
    for ours in ("\x1b[1;31m", "\x1b[1m", "\x1b[0m"):  # rich's own bold and red
        rest = rest.replace(ours, "") if out is Terminal else rest
    odd = {c for c in rest if unicodedata.category(c)[0] == "C"} - {"\n"}
    assert odd == set()
    assert max(map(len, text.splitlines())) < 5_000


class Tags(html.parser.HTMLParser):
    """The tags of a page, and the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_holds_no_markup_of_theirs(
    logdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    printed(capsys, "report", str(logdir), "--html", str(page))
    text = page.read_text(encoding="utf-8")
    tags = Tags(text)
    assert not tags.seen & {"script", "img", "iframe", "object", "link", "base", "form"}
    assert not [a for a in tags.attributes if a.startswith("on") or a in ("href", "src")]
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in text
    assert "\x1b" not in text and "\u202e" not in text and "\x00" not in text


@pytest.mark.browser
def test_a_browser_shows_them_as_text(
    logdir: Path,
    tmp_path: Path,
    browser: Any,
    serve: Callable[[Path, str], str],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = tmp_path / "page.html"
    printed(capsys, "report", str(logdir), "--html", str(page))
    opened = browser.new_page()
    asked: list[str] = []
    opened.on("request", lambda r: asked.append(r.url))
    opened.goto(page.as_uri())
    assert opened.evaluate("window.pwned") is None
    assert asked == [page.as_uri()]
    opened.close()

    tab = Tab(browser, serve(logdir, "false"))
    dialogs: list[str] = []
    tab.page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
    tab.wait_for_rows()
    assert len(tab.trials()) > 5
    for row in range(3):
        tab.frame.locator(".row:has(.id)").nth(row).click()
        tab.frame.wait_for_selector(".detail:not([hidden])")
        tab.frame.wait_for_selector(".heat canvas", state="visible")
    for frame in tab.page.frames:
        assert frame.evaluate("window.pwned") is None
        assert frame.evaluate("({}).pwned") is None
    found = tab.frame.evaluate(
        "[...document.querySelectorAll('script:not([src]), img, iframe, svg[onload]')]"
        ".map((e) => e.outerHTML)"
    )
    assert [f for f in found if "pwned" in f] == []
    text = tab.frame.evaluate("document.body.textContent")
    assert "window.pwned=1" in text
    assert dialogs == []
    tab.check()
    tab.close()
