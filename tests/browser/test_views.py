"""A trial's figures and the comparing views, over logs of a real search."""

import json
import pathlib
import re
import struct
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tb_nanwatch.record.schema import LANE_SERIES
from tests.browser.tab import BAD, Tab, bad_runs, called

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def tab(
    browser: Any, serve: Callable[[pathlib.Path, str], str], logdir: pathlib.Path
) -> Iterator[Tab]:
    """One page for all tests of this file: each goes to the view that it needs."""
    tab = Tab(browser, serve(logdir, "true"))
    tab.wait_for_rows()
    yield tab
    tab.check()
    tab.close()


def go_to(tab: Tab, view: str) -> None:
    tab.frame.get_by_role("navigation").get_by_role("button", name=view).click()


def test_chain_is_lit_at_the_origin(tab: Tab, report: dict[str, Any]) -> None:
    for run in bad_runs(report):
        tab.select(run["trial_id"])
        lit = tab.frame.locator(".chain .lit")
        lit.wait_for()
        assert lit.count() == 1
        origin = run["origin"]
        text = lit.inner_text()
        assert (origin["name"] or origin["kind"]) in text
        if origin["num_pos_inf"]:
            assert f"{origin['num_pos_inf']:,} Inf" in text
        # The hyperparameters come first, and nothing before the origin is non-finite.
        stages = tab.frame.locator(".chain li > *")
        states = [s.get_attribute("class") for s in stages.all()]
        assert "values" in states[0]
        place = next(i for i, s in enumerate(states) if "lit" in s)
        assert all("fine" in s for s in states[:place])
    # A stage leads to its tensor.
    weights = tab.frame.locator(".chain li").last.get_by_role("button")
    name = weights.locator(".stage-name").inner_text()
    weights.click()
    assert name in tab.frame.locator(".chart h3").inner_text()
    assert weights.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("axis", ["linear", "epoch", "time", "onset", "log"])
def test_figures_follow_the_axis(tab: Tab, report: dict[str, Any], axis: str) -> None:
    if not tab.frame.locator(".detail").is_visible():
        tab.select(bad_runs(report)[0]["trial_id"])
    tab.adjust("x axis", axis)
    plot = tab.frame.get_by_role("slider", name="Ranges over time")
    plot.focus()
    tab.page.keyboard.press("Home")
    assert plot.get_attribute("aria-valuetext").startswith("step 0, rms ")
    tab.page.keyboard.press("End")
    assert "non-finite" in plot.get_attribute("aria-valuetext")


def test_pictures_are_saved(tab: Tab, report: dict[str, Any]) -> None:
    run = bad_runs(report)[0]
    tab.select(run["trial_id"])
    detail = tab.frame.locator(".detail")
    with tab.page.expect_download() as saved:
        detail.get_by_role("button", name="PNG").click()
    header = pathlib.Path(saved.value.path()).read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    assert width > 1000 and height > 400
    with tab.page.expect_download() as saved:
        detail.get_by_role("button", name="SVG").click()
    svg = pathlib.Path(saved.value.path()).read_text()
    text = "".join(ET.fromstring(svg).itertext())
    assert f"{called(run)}: {run['status']}" in text
    assert "hidden/kernel" in text
    assert "NaN," not in svg and "undefined" not in svg
    tab.frame.locator(".detail .plain").click()
    nav = tab.frame.get_by_role("navigation")
    with tab.page.expect_download() as saved:
        nav.get_by_role("button", name="SVG").click()
    lanes = "".join(
        ET.fromstring(pathlib.Path(saved.value.path()).read_text()).itertext()
    )
    assert lanes.count("diverged") >= sum(
        r["status"] == "diverged" for r in report["runs"]
    )


def test_links_to_tabs_that_have_data(tab: Tab, report: dict[str, Any]) -> None:
    run = bad_runs(report)[0]
    tab.select(run["trial_id"])
    tab.frame.locator(".elsewhere a").first.wait_for()
    plugins = tab.page.evaluate("fetch('data/plugins_listing').then((r) => r.json())")
    for name, plugin in (("Scalars", "scalars"), ("HParams", "hparams")):
        link = tab.frame.locator(".elsewhere").get_by_role("link", name=name)
        assert link.count() == int(plugins[plugin]["enabled"])
        if link.count():
            href = urllib.parse.urlsplit(link.get_attribute("href"))
            assert href.netloc == urllib.parse.urlsplit(tab.url).netloc
            assert href.fragment.split("&")[0] == plugin


def test_values_stand_with_rates_and_intervals(tab: Tab, report: dict[str, Any]) -> None:
    go_to(tab, "Values")
    rates = tab.page.evaluate(
        "fetch('data/plugin/nanwatch/overview').then((r) => r.json())"
    )["searches"][0]["rates"]
    cards = tab.frame.locator(".card")
    assert cards.count() == len({r["hparam"] for r in rates}) > 0
    for rate in rates:
        card = cards.filter(has=tab.frame.locator("h2", has_text=rate["hparam"]))
        row = card.locator("tbody tr").filter(
            has=tab.frame.get_by_role("rowheader", name=rate["label"], exact=True)
        )
        percent = f"{round(100 * rate['low'])}–{round(100 * rate['high'])} %"
        assert f"{rate['bad']} of {rate['total']}" in row.inner_text()
        assert percent in row.inner_text()


def test_pair_counts_every_trial_once(tab: Tab, report: dict[str, Any]) -> None:
    go_to(tab, "Pair")
    cells = tab.frame.locator(".cells tbody td").all_inner_texts()
    pairs = [re.search(r"(\d+)/(\d+)", c) for c in cells]
    bad, total = (sum(int(p[i]) for p in pairs if p) for i in (1, 2))
    runs = report["runs"]
    assert (bad, total) == (sum(r["status"] in BAD for r in runs), len(runs))
    plot = tab.frame.get_by_role("slider", name="Trials.")
    plot.focus()
    tab.page.keyboard.press("End")  # the trial farthest to the right
    told = plot.get_attribute("aria-valuetext")
    tab.page.keyboard.press("Enter")
    tab.frame.wait_for_selector(".detail:not([hidden]) h2")
    name = re.match(r"(Trial #\w+):", told)
    assert name and name[1] in tab.frame.locator(".detail h2").inner_text()
    tab.frame.locator(".detail .plain").click()


def test_brush_link_and_back(browser: Any, tab: Tab, report: dict[str, Any]) -> None:
    go_to(tab, "Parallel")
    status = tab.frame.locator(".compare").get_by_role("status")
    runs = report["runs"]
    bad = sum(r["status"] in BAD for r in runs)
    assert f"{len(runs)} of {len(runs)} trials kept; {bad} of {len(runs)}" in (
        status.inner_text()
    )
    low = tab.frame.get_by_role("slider", name="learning_rate: lower end kept")
    low.focus()
    for _ in range(5):
        tab.page.keyboard.press("Shift+ArrowUp")  # half of the axis
    rates = [r["hparams"]["learning_rate"] for r in runs]
    kept = [r for r, rate in zip(runs, rates, strict=True) if rate >= 1.0]
    bad_kept = sum(r["status"] in BAD for r in kept)
    expected = f"{len(kept)} of {len(runs)} trials kept; {bad_kept} of {len(kept)}"
    assert expected in status.inner_text()
    tab.wait_for_hash("brush=")

    other = Tab(browser, tab.url, hash=tab.hash())
    found = other.frame.locator(".compare").get_by_role("status")
    found.get_by_text(expected).wait_for()
    other.check()
    other.close()

    tab.page.keyboard.press("Delete")
    assert f"{len(runs)} of {len(runs)} trials kept" in status.inner_text()
    # What has no place on an axis is kept by its own button.
    tab.frame.get_by_role("button", name="first bad step: only never").click()
    assert f"{len(runs) - bad} of {len(runs)} trials kept; 0 of" in status.inner_text()
    tab.frame.get_by_role("button", name="clear brushes").click()
    tab.page.evaluate("history.back()")
    tab.frame.wait_for_selector(".pair", state="visible")
    assert tab.frame.locator(".parallel").count() == 0


def test_two_trials_side_by_side(tab: Tab, report: dict[str, Any]) -> None:
    run = bad_runs(report)[0]
    go_to(tab, "Frontier")
    tab.select(run["trial_id"])
    go_to(tab, "Trials")
    heads = tab.frame.locator(".side-by-side").first.locator("thead th").all_inner_texts()
    assert heads[0] == called(run)
    beside = next(r for r in report["runs"] if called(r) == heads[1])
    assert beside["status"] not in BAD
    assert re.match(r"They first differ (at|by) step", tab.fact("parting"))
    rate = tab.frame.get_by_role("row").filter(has_text="≠ learning_rate")
    assert rate.count() == 1
    # Their series beside each other, in words as well; every one was measured.
    charts = tab.frame.locator(".course [role=img]")
    told = [c.get_attribute("aria-label") or "" for c in charts.all()]
    assert len(told) == len(LANE_SERIES)
    for text in told:
        assert f"{called(run)} from" in text and f"{heads[1]} from" in text
    drawn = (
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean)"
    )
    assert all(c.evaluate(drawn) for c in tab.frame.locator(".course canvas").all())
    charts.first.hover()
    tab.frame.locator(".tooltip", has_text=f"{called(run)}: ≈ ").wait_for()
    # Another one, by hand; the link holds both.
    select = tab.frame.get_by_label("second trial")
    select.select_option(index=0)
    tab.wait_for_hash("runs=")
    held = re.search(r"runs=([^&]+)", tab.hash())
    assert held and len(json.loads(urllib.parse.unquote(held[1]))) == 2


@pytest.mark.parametrize(
    ("series", "words"),
    [("update_ratio", "update / weight"), ("activation_max", "largest |activation|")],
)
def test_lanes_are_coloured_by_what_is_measured_now_and_then(
    tab: Tab, report: dict[str, Any], series: str, words: str
) -> None:
    run = next(r for r in report["runs"] if r["status"] == "clean")
    go_to(tab, "Frontier")
    assert "as last measured" not in tab.frame.locator(".controls .legend").inner_text()
    tab.adjust("colour", label=words)
    tab.wait_for_hash(f"colour={series}")
    assert "thin: as last measured" in tab.frame.locator(".controls .legend").inner_text()
    # Steps 1 to 3 are measured in every run; exact numbers come when somebody points there.
    row = tab.frame.locator(f'.row:has(.id[data-trial="{run["trial_id"]}"])')
    row.scroll_into_view_if_needed()
    box = row.locator(".lane-cell").bounding_box()
    assert box
    at = {"x": box["width"] * 0.25, "y": box["height"] / 2}
    row.locator(".lane-cell").hover(position=at, force=True)
    tooltip = tab.frame.locator(".tooltip")
    tooltip.get_by_text(re.compile(rf"^{re.escape(words)} [^≈]*\d")).wait_for()
    tab.frame.locator(".controls").hover(position={"x": 2, "y": 2})
    tab.adjust("colour", "growth")


def test_one_search_alone_says_what_to_do(tab: Tab) -> None:
    go_to(tab, "Searches")
    assert "overwrite=True" in tab.frame.locator(".compare .note").inner_text()
    go_to(tab, "Frontier")
    tab.wait_for_rows()


def test_empty_table_says_why(tab: Tab, report: dict[str, Any]) -> None:
    go_to(tab, "Frontier")
    frame = tab.frame
    box = frame.get_by_role("searchbox")
    rates = [r["hparams"]["learning_rate"] for r in bad_runs(report)]
    box.fill(f"bad, learning_rate>={min(rates) * 0.99}")
    frame.wait_for_function(
        "n => document.querySelectorAll('.row .id:not(:empty)').length === n",
        arg=len(rates),
    )
    assert not frame.locator(".nothing-fits").is_visible()
    box.fill(f"bad, learning_rate>{max(rates) * 2}")
    nothing = frame.locator(".nothing-fits")
    nothing.wait_for(state="visible")
    nothing.get_by_role("button", name="clear the filter").click()
    nothing.wait_for(state="hidden")
    assert box.input_value() == ""
    assert len(tab.trials()) == len(report["runs"])


def test_verdict_is_shown_whole_beside_an_open_trial(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    logdir: pathlib.Path,
    report: dict[str, Any],
) -> None:
    tab = Tab(browser, serve(logdir, "true"), width=640, height=600)
    tab.wait_for_rows()
    tab.select(bad_runs(report)[0]["trial_id"])
    cut = "e => e.scrollHeight > e.clientHeight + 2"
    body = tab.frame.locator(".verdict-body")
    assert body.evaluate(cut)
    button = tab.frame.get_by_role("button", name="show all")
    button.focus()
    tab.page.keyboard.press("Enter")
    assert not body.evaluate(cut)
    less = tab.frame.get_by_role("button", name="show less")
    assert less.get_attribute("aria-expanded") == "true"
    less.click()
    assert body.evaluate(cut)
    tab.check()
    tab.close()


def test_no_step_is_cut_by_the_names(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    logdir: pathlib.Path,
    report: dict[str, Any],
) -> None:
    tab = Tab(browser, serve(logdir, "true"))
    tab.wait_for_rows()
    tab.select(bad_runs(report)[0]["trial_id"])
    tab.frame.get_by_role("button", name="last steps").click()
    steps = tab.frame.locator(".flight-scroller")
    steps.wait_for()
    # Of each step's head, how much of its width stands out of the names' right edge.
    shown = """e => {
        const [names, ...steps] = [...e.querySelectorAll("thead th")];
        const edge = names.getBoundingClientRect().right;
        return steps.map((s) => s.getBoundingClientRect())
            .map((s) => Math.min(1, (s.right - edge + 1) / s.width));
    }"""

    def settled() -> list[float]:
        tab.page.wait_for_timeout(500)
        parts: list[float] = steps.evaluate(shown)
        return [part for part in parts if part > 0.1]

    assert all(part == 1 for part in settled())
    if steps.evaluate("e => e.scrollWidth > e.clientWidth"):
        steps.hover()
        tab.page.mouse.wheel(-30, 0)
        assert all(part == 1 for part in settled())
    tab.check()
    tab.close()
