"""The page that can be mailed: complete, without scripts or requests, all of it escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report import lane_svg
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.record.schema import HParam
from tests.reading.records import (
    CTX,
    a_bad_tensor,
    a_search,
    a_status,
    a_verdict,
    write,
)
from tests.reading.searches import frontier
from tests.support.told import as_json, as_overview

EVIL = "</style></title><script>alert(1)</script><img src=x onerror='a'>\"&amp;\u202e"
VOID = {"meta", "rect", "path", "br"}


class Reading(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data

    def close(self) -> None:
        super().close()
        assert self._open == []


def read_page(shown: str) -> Reading:
    reading = Reading()
    reading.feed(shown)
    reading.close()
    return reading


def test_the_frontier_with_its_finding_its_edit_and_its_lanes(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    for i, trial in enumerate(frontier()):
        write(
            tmp_path / f"{i:04d}" / "execution0",
            a_status(i, bad=trial.bad, trial_id=f"{i:04d}", hparams=list(trial.hparams)),
            a_verdict(i, trial_id=f"{i:04d}", score=trial.score),
        )
    snapshot = read().snapshot(CTX, "")
    bad = [s for s in snapshot.sessions if s.status.onset]
    causes = {
        (s.run, s.id): [Cause("learning_rate", 0.9, ["where", "It is 1.4."], "Lower it.")]
        for s in bad
    }
    lanes = {(s.run, s.id): ([0, 36, 99], [1.0, 50.0, math.nan]) for s in bad}
    shown = page(overview(snapshot, causes), lanes, now=0)
    reading = read_page(shown)
    for words in (
        "optimizer = sgd and learning_rate >= 0.1 went bad in 5 of 5 trials",
        'hp.Float("learning_rate_sgd", 1e-4, 0.05, sampling="log")',
        '    learning_rate = hp.get("learning_rate_sgd")',
        "Learning rate too high (unclear) in Trial 0000, Trial 0001, Trial 0002, ",
        "It is 1.4.",
        "FixNarrow learning_rate by this edit: it removes 5 of 5 bad trials, loses 0 of",
        "gradient of dense_2/kernel, 12 Inf of 2,048",
        "epoch 2, batch 13 (step 37)",
        "learning rate too high",
        "Made 1970-01-01 00:00 UTC",
    ):
        assert words in reading.text, words
    # Each fact stands once: the card's are not told again below it.
    assert reading.text.count("Narrow learning_rate by this edit") == 1
    assert reading.tags.count("tr") == 1 + 24
    labels = [v for n, v in reading.attributes if n == "aria-label"]
    assert len(labels) == 24
    assert labels.count("100 steps, the first bad one 37") == 5


def test_every_name_is_text_and_nothing_is_asked_of_a_network(
    tmp_path: Path, read: Callable[..., Reader]
) -> None:
    status = a_status(
        1,
        bad=True,
        trial_id=EVIL,
        search=a_search(name=EVIL, tuner=EVIL, objective=EVIL, id=EVIL),
        origin=a_bad_tensor(name=EVIL),
        hparams=[HParam(EVIL, EVIL, "text")],
        error_type=EVIL,
        error_message=EVIL,
        state="failed",
        written={"events": 2},
    )
    write(
        tmp_path / "run",
        status,
        a_verdict(1, tuner_status=EVIL, aborted=EVIL, trial_id=EVIL, search_id=EVIL),
    )
    full = as_json(overview(read().snapshot(CTX, "")))
    full["warnings"].append(EVIL)
    finding = {
        "search": EVIL,
        "text": EVIL,
        "edit": f"a\n    {EVIL}",
        "saves": EVIL,
        "where": EVIL,
    }
    finding |= {"condition": EVIL, "hparam": EVIL, "rivals": EVIL}
    counts = {"inside": [1, 1], "outside": [0, 1], "p_value": 0.01}
    full["findings"].append({**finding, **counts})
    full["searches"] *= 2  # with a list of contents
    full["searches"][0]["search"] = full["runs"][0]["search"] = EVIL
    full["runs"][0]["causes"][0]["evidence"] = [EVIL]
    shown = page(as_overview(full), {})
    reading = read_page(shown)
    assert not {"script", "img", "link", "iframe", "use"} & set(reading.tags)
    assert not [n for n, _ in reading.attributes if n.startswith("on") or n == "src"]
    hrefs = [v or "" for n, v in reading.attributes if n == "href"]
    assert hrefs and all(re.fullmatch(r"#search-\d+", href) for href in hrefs)
    assert reading.text.count("<script>alert(1)</script>") >= 8
    assert not re.search(r"https?:|url\(|@import|\u202e", shown)
    assert "default-src 'none'" in shown


def test_without_trials_there_is_a_page_all_the_same() -> None:
    full: dict[str, Any] = {"searches": [], "runs": [], "findings": [], "warnings": []}
    assert "NaN Watch report" in read_page(page(as_overview(full), {})).text


# --- Lanes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "growth, colour",
    [(0.0, 0), (1.0, 0), (3.5, 1), (99.0, 2), (100.0, 3), (1e8, 5), (math.nan, 0)],
)
def test_shades(growth: float, colour: int) -> None:
    assert lane_svg.shade(growth) == colour


def test_a_lane_merges_what_has_one_colour_and_keeps_it_where_it_is_not_finite() -> None:
    drawn = lane_svg.lane([0, 1, 2, 3], [1.0, 1.0, 1e9, math.nan], 4, 3, "4 steps")
    assert re.findall(r'rect class="(g\d)"', drawn) == ["g0", "g5"]
    assert drawn.count("<path") == 2 and "lost" not in drawn
    assert "<path" not in lane_svg.lane([0], [1.0], 1, None, "")
    assert lane_svg.lane([], [], 0, None, "").count("<rect") == 0


def test_what_follows_the_first_bad_step_is_hatched_and_not_healthy() -> None:
    ends, growth = [0, 1, 2, 999], [1.0, 1e9, 0.0, 0.0]  # ReLU makes 0 of NaN
    drawn = lane_svg.lane(ends, growth, 1000, 1, "")
    assert re.findall(r'rect class="(\w+)"', drawn) == ["g0", "g5", "lost"]
    # A runaway stays finite: what it grew to is worth showing.
    runaway = lane_svg.lane(ends, [1.0, 1e9, 1e9, 1e9], 1000, 1, "", finite=True)
    assert re.findall(r'rect class="(\w+)"', runaway) == ["g0", "g5"]


def test_the_axis_is_logarithmic_and_ends_with_the_longest_run() -> None:
    places = [lane_svg.position(s, 1000) for s in (0, 9, 99, 1000, 2000)]
    assert places[0] == 0 and places[-1] == places[-2] == lane_svg.WIDTH
    assert 0.3 < places[1] / lane_svg.WIDTH < 0.4 < places[2] / lane_svg.WIDTH < 0.7
