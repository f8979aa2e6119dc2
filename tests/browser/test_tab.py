"""The tab in a real browser, on a real TensorBoard, over logs of a real search."""

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from tb_nanwatch.record.schema import Position
from tb_nanwatch.wording.places import position_text
from tb_nanwatch.wording.trial_names import number_of, trial_name
from tests.browser.tab import BAD, Tab, bad_runs

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "output"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def url(serve: Callable[[pathlib.Path, str], str], logdir: pathlib.Path) -> str:
    return serve(logdir, "true")


@pytest.fixture(params=["true", "false"], ids=["fast-loader", "python-loader"])
def either_url(
    request: Any, serve: Callable[[pathlib.Path, str], str], logdir: pathlib.Path
) -> str:
    """For what shows numbers of the log: either of TensorBoard's loaders reads it."""
    return serve(logdir, request.param)


def position(onset: dict[str, Any]) -> str:
    return position_text(Position(**onset))


def test_search_has_both_fates(report: dict[str, Any]) -> None:
    bad = bad_runs(report)
    assert len(report["runs"]) == 8
    assert 2 <= len(bad) <= 6
    assert all(run["onset"] and run["origin"] for run in bad)


def test_sorts_selects_and_reads_the_origin(
    browser: Any, either_url: str, report: dict[str, Any]
) -> None:
    tab = Tab(browser, either_url)
    tab.wait_for_rows()
    runs = {run["trial_id"]: run for run in report["runs"]}
    assert sorted(tab.trials()) == sorted(runs)

    # By itself the table is ordered by the learning rate, the highest on top.
    by_rate = sorted(
        runs, key=lambda t: runs[t]["hparams"]["learning_rate"], reverse=True
    )
    assert tab.trials() == by_rate
    header = tab.frame.get_by_role("columnheader").filter(has_text="learning_rate")
    assert header.get_attribute("aria-sort") == "descending"
    tab.sort_by("learning_rate")
    assert tab.trials() == by_rate[::-1]
    assert header.get_attribute("aria-sort") == "ascending"
    tab.sort_by("trial")
    assert tab.trials() in (sorted(runs), sorted(runs)[::-1])

    # Every bad trial says in the table and in the panel what the report says.
    for run in bad_runs(report):
        tab.select(run["trial_id"])
        assert tab.fact("onset") == position(run["onset"])
        origin = run["origin"]
        assert origin["name"] in tab.fact("origin")
        for count, word in (("num_nan", "NaN"), ("num_pos_inf", "Inf")):
            if origin[count]:
                assert re.search(
                    rf"(?<!-)\b{origin[count]:,} {word}\b", tab.fact("counts")
                )
        heading = tab.frame.locator(".chart h3").inner_text()
        assert origin["name"] in heading
    tab.check()
    tab.close()


def test_clean_trial_is_shown_as_clean(
    browser: Any, either_url: str, report: dict[str, Any]
) -> None:
    clean = next(run for run in report["runs"] if run["status"] == "clean")
    tab = Tab(browser, either_url)
    tab.wait_for_rows()
    tab.select(clean["trial_id"])
    assert "All finite: 24 steps" in tab.frame.locator(".facts").inner_text()
    assert tab.frame.locator("[data-fact=onset]").count() == 0
    tab.check()
    tab.close()


def test_keyboard_opens_and_closes_a_trial(browser: Any, url: str) -> None:
    tab = Tab(browser, url)
    tab.wait_for_rows()
    tab.frame.locator(".grid").focus()
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    tab.frame.wait_for_selector(".detail:not([hidden])")
    second = tab.trials()[1]
    name = trial_name(second, number_of(second))
    assert name in tab.frame.locator(".detail h2").inner_text()
    tab.page.keyboard.press("Escape")
    tab.frame.wait_for_selector(".detail", state="hidden")
    tab.check()
    tab.close()


def cut_outcome(runs: list[dict[str, Any]], removed: Callable[[float], bool]) -> str:
    """What a cut on the learning rate does, counted from the report."""
    bad = [r["status"] in BAD for r in runs]
    gone = [removed(r["hparams"]["learning_rate"]) for r in runs]
    best = min(
        (r["score"], g)
        for r, g, b in zip(runs, gone, bad, strict=True)
        if not b and isinstance(r["score"], float)
    )
    both = sum(b and g for b, g in zip(bad, gone, strict=True))
    clean = sum(g and not b for b, g in zip(bad, gone, strict=True))
    return (
        f"removes {both} of {sum(bad)} bad, loses {clean} of {len(bad) - sum(bad)} clean, "
        f"{'loses' if best[1] else 'keeps'} the best score"
    )


def edit_of(tab: Tab) -> str:
    """Returns the edit on screen once the server has written it, "" where there is none."""
    for _ in range(100):
        code = str(tab.frame.locator(".verdict .edit code").text_content())
        if code != " ":
            return code
        tab.page.wait_for_timeout(50)
    raise AssertionError("the server wrote no edit")


def test_cut_moves_by_keyboard_and_says_what_it_does(
    browser: Any, url: str, report: dict[str, Any]
) -> None:
    tab = Tab(browser, url)
    tab.wait_for_rows()
    runs = report["runs"]
    rates = sorted((r["hparams"]["learning_rate"] for r in runs), reverse=True)
    handle = tab.frame.get_by_role("separator")
    if handle.count() == 0:  # nothing was found, so that the first cut is ours
        tab.frame.get_by_role("button", name="cut", exact=False).first.click()
    handle.focus()
    tab.page.keyboard.press("Home")
    outcome = tab.frame.locator('[data-fact="cut"]')
    for place in range(len(rates) - 1):
        lowest_removed = rates[place]
        expected = cut_outcome(runs, lambda rate: rate >= lowest_removed)  # noqa: B023
        assert outcome.inner_text() == expected
        assert expected in handle.get_attribute("aria-valuetext")
        code = edit_of(tab)
        if code:
            match = re.fullmatch(
                r'(?:rate = )?hp\.Float\("learning_rate", 0\.001, (.+), sampling="log"\)',
                code,
            )
            assert match, code
            assert rates[place + 1] <= float(match[1]) < lowest_removed
            assert tab.frame.locator(".edit .copy").is_visible()
        tab.page.keyboard.press("ArrowDown")
    tab.frame.locator(".edit .copy").click()
    tab.frame.get_by_text("copied").wait_for()
    handle.focus()
    # It stops at the last row, and goes when asked to.
    assert handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    tab.page.keyboard.press("Delete")
    handle.wait_for(state="hidden")
    tab.wait_for_hash("cut=")
    tab.check()
    tab.close()


def test_cut_is_dragged(browser: Any, url: str) -> None:
    tab = Tab(browser, url)
    tab.wait_for_rows()
    handle = tab.frame.get_by_role("separator")
    if handle.count() == 0:
        tab.frame.get_by_role("button", name="cut", exact=False).first.click()
    handle.focus()
    tab.page.keyboard.press("Home")
    box = tab.frame.locator(".cut .grip").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x, y + 20, steps=4)
    tab.page.mouse.move(x, y + 44, steps=4)
    tab.page.mouse.up()
    assert handle.get_attribute("aria-valuenow") in ("2", "3")
    tab.check()
    tab.close()


def test_link_restores_and_back_undoes(
    browser: Any, url: str, report: dict[str, Any]
) -> None:
    trial = bad_runs(report)[0]["trial_id"]
    tab = Tab(browser, url)
    tab.wait_for_rows()
    tab.select(trial)
    tab.wait_for_hash("trial=")
    tab.sort_by("score")
    tab.wait_for_hash("sort=")
    order, link = tab.trials(), tab.hash()
    assert link.startswith("#nanwatch&")

    other = Tab(browser, url, hash=link)
    other.wait_for_rows()
    name = trial_name(trial, number_of(trial))
    assert name in other.frame.locator(".detail h2").inner_text()
    assert other.trials() == order
    other.check()
    other.close()

    tab.page.evaluate("history.back()")
    tab.page.wait_for_function("!location.hash.includes('sort=')")
    assert tab.frame.locator(".detail").is_visible()
    tab.page.evaluate("history.back()")
    tab.frame.wait_for_selector(".detail", state="hidden")
    tab.page.evaluate("history.forward()")
    tab.frame.wait_for_selector(".detail", state="visible")
    tab.check()
    tab.close()


def test_last_steps_and_downloads(
    browser: Any, either_url: str, report: dict[str, Any]
) -> None:
    run = bad_runs(report)[0]
    tab = Tab(browser, either_url)
    tab.wait_for_rows()
    tab.select(run["trial_id"])
    tab.frame.get_by_role("button", name="last steps").click()
    # The last column is the first bad step, and its tensor is bad there.
    onset = tab.frame.locator(".flight thead th").last
    assert onset.inner_text() == f"{run['onset']['step']:,}"
    origin = tab.frame.locator(".flight .origin td").last
    assert origin.inner_text().startswith("✖")
    with tab.page.expect_download() as csv:
        tab.frame.get_by_role("button", name="CSV").click()
    header, first = pathlib.Path(csv.value.path()).read_text().splitlines()[:2]
    assert header.startswith("phase,first_step,last_step,kind,tensor")
    assert len(first.split(",")) == len(header.split(","))
    with tab.page.expect_download() as saved:
        tab.frame.get_by_role("button", name="JSON").click()
    told = json.loads(pathlib.Path(saved.value.path()).read_text())["run"]
    assert (told["run"], told["onset"]) == (run["run"], run["onset"])
    tab.check()
    tab.close()


def test_filter_leaves_rows_out(browser: Any, url: str, report: dict[str, Any]) -> None:
    tab = Tab(browser, url)
    tab.wait_for_rows()
    box = tab.frame.get_by_role("searchbox")
    box.fill("-bad")
    clean = sorted(r["trial_id"] for r in report["runs"] if r["status"] not in BAD)
    tab.frame.get_by_text(f"{len(clean)} of {len(report['runs'])} shown").wait_for()
    assert sorted(tab.trials()) == clean
    box.fill("learning_rat>1")
    tab.frame.get_by_text('there is no "learning_rat"').wait_for()
    tab.check()
    tab.close()


def test_edit_of_the_verdict_is_copied(
    browser: Any, url: str, report: dict[str, Any]
) -> None:
    tab = Tab(browser, url)
    tab.wait_for_rows()
    edit = report["findings"][0]["edit"] if report["findings"] else ""
    copy = tab.frame.locator(".verdict .edit .copy")
    assert copy.is_visible() == bool(edit)
    if edit:
        assert tab.frame.locator(".verdict .edit code").text_content() == edit
        copy.click()
        tab.frame.get_by_text("copied").wait_for()
    tab.check()
    tab.close()


def test_empty_log_directory_says_what_to_do(
    browser: Any, serve: Callable[[pathlib.Path, str], str], tmp_path: pathlib.Path
) -> None:
    tab = Tab(browser, serve(tmp_path, "true"))
    message = tab.frame.locator(".message")
    message.get_by_text("No watched runs").wait_for()
    assert str(tmp_path) in message.inner_text()
    for call in ("model.fit(", "tuner.search("):
        assert f"{call}x, y, callbacks=[NanWatch(" in message.inner_text()
    tab.check()
    tab.close()


@pytest.mark.parametrize("width, height", [(1280, 800), (1920, 1080)])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshots(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    logdir: pathlib.Path,
    report: dict[str, Any],
    width: int,
    height: int,
    theme: str,
) -> None:
    """Pictures to look at; nothing may overflow the page sideways."""
    OUTPUT.mkdir(exist_ok=True)
    tab = Tab(browser, serve(logdir, "true"), width, height)
    tab.wait_for_rows()
    if theme == "dark":
        tab.dark()
    tab.page.screenshot(path=OUTPUT / f"table-{width}-{theme}.png")
    tab.select(bad_runs(report)[0]["trial_id"])
    tab.page.wait_for_timeout(300)
    tab.page.screenshot(path=OUTPUT / f"trial-{width}-{theme}.png")
    overflow = tab.frame.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow == 0
    tab.check()
    tab.close()
