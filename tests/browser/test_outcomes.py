"""What became of a search, and of each trial in it, as the tab tells it."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import read_report, run_program
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("outcomes")
    run_program(root, "-m", "tests.browser.outcomes", str(root))
    return root / "log"


@pytest.fixture(scope="module")
def told(outcomes: pathlib.Path) -> dict[str, Any]:
    return read_report(outcomes)


@pytest.fixture(scope="module")
def tab(
    browser: Any, serve: Callable[[pathlib.Path, str], str], outcomes: pathlib.Path
) -> Any:
    tab = Tab(browser, serve(outcomes, "true"), 1500, 1000)
    tab.wait_for_rows()
    yield tab
    tab.check()
    tab.close()


def choose(tab: Tab, told: dict[str, Any], tuner: str) -> list[dict[str, Any]]:
    """Shows the search of a tuner; returns its runs as the report tells them."""
    (search,) = [s for s in told["searches"] if s["tuner"] == tuner]
    tab.frame.get_by_role("searchbox").fill("")
    tab.frame.locator(".picker").select_option(value=search["search"])
    tab.wait_for_rows()
    return [r for r in told["runs"] if r["search"] == search["search"]]


def test_aborted_search_says_which_trials_and_why(tab: Tab, told: dict[str, Any]) -> None:
    (search,) = [s for s in told["searches"] if s["aborted"]]
    assert len(search["aborted"]["trials"]) == 3
    runs = choose(tab, told, "GridSearch")
    said = "Search aborted: 3 trials in a row failed"
    assert tab.fact("happened").startswith(said)
    assert "max_consecutive_failed_trials=" in tab.fact("next")
    more = tab.frame.locator("#how-sure")
    assert more.is_hidden()
    # What it rests on is reached by keyboard.
    button = tab.frame.get_by_role("button", name="how sure?")
    button.focus()
    tab.page.keyboard.press("Enter")
    text = more.inner_text()
    numbers = {r["trial_id"]: r["number"] for r in runs}
    for trial, reason in zip(
        search["aborted"]["trials"], search["aborted"]["reasons"], strict=True
    ):
        assert f"Trial #{numbers[trial]}: {reason}" in text
    assert search["aborted"]["fix"] in text
    assert search["cost"]["text"] in text
    tab.page.keyboard.press("Enter")
    assert more.is_hidden()


def test_trial_is_found_by_the_number_that_was_printed(
    tab: Tab, told: dict[str, Any]
) -> None:
    runs = choose(tab, told, "GridSearch")
    run = next(r for r in runs if r["number"] == 2)
    tab.frame.get_by_role("searchbox").fill("#2")
    tab.frame.get_by_text(f"1 of {len(runs)} shown").wait_for()
    assert tab.trials() == [run["trial_id"]]
    assert tab.frame.locator(".row .id").first.inner_text() == "#2"
    tab.select(run["trial_id"])
    assert "Trial #2" in tab.frame.locator(".detail h2").inner_text()
    tab.page.keyboard.press("Escape")


def test_what_is_inactive_is_no_missing_value(tab: Tab, told: dict[str, Any]) -> None:
    runs = choose(tab, told, "GridSearch")
    inactive = {r["trial_id"] for r in runs if "extra" not in r["hparams"]}
    assert inactive and len(inactive) < len(runs)
    for run in runs:
        row = tab.frame.locator(f'.row:has(.id[data-trial="{run["trial_id"]}"])')
        assert row.locator(".hparam.inactive").count() == (run["trial_id"] in inactive)


def test_hyperband_says_what_a_trial_goes_on_with(tab: Tab, told: dict[str, Any]) -> None:
    runs = choose(tab, told, "Hyperband")
    run = next(r for r in runs if r["inherited"])
    number = {r["trial_id"]: r["number"] for r in runs}
    parent = f"Trial #{number[run['lineage']['trial_id']]}"
    tab.frame.get_by_role("searchbox").fill(f"trial={run['trial_id']}")
    tab.frame.get_by_text(f"1 of {len(runs)} shown").wait_for()
    tab.frame.locator(".row").click()  # it may have failed before its first step
    tab.frame.wait_for_selector(".detail:not([hidden])")
    lineage = tab.fact("lineage")
    assert f"bracket {run['lineage']['bracket']}" in lineage
    assert f"continues {parent}" in lineage
    assert f"weights come from {parent}" in tab.fact("inherited")
    if run["misread"]:
        assert tab.fact("misread") == run["misread_text"]
    tab.page.keyboard.press("Escape")
    tab.frame.get_by_role("searchbox").fill("")
    tab.frame.wait_for_function(
        "n => +document.querySelector('.grid').ariaRowCount > n", arg=len(runs)
    )
    # What goes on with a trial stands below it, in the rows that are on screen.
    above: list[str] = []
    parents = {r["trial_id"]: r["lineage"]["trial_id"] for r in runs}
    for trial in tab.trials():
        shown = tab.frame.locator(f'.row .id[data-trial="{trial}"]').first.inner_text()
        assert shown.startswith("↳ ") == (parents[trial] is not None)
        if parents[trial] is not None and above:
            assert parents[trial] in above or not above[0]
        above.append(trial)


def test_unwatched_trials_tell_their_scalars(tab: Tab, told: dict[str, Any]) -> None:
    (search,) = [s for s in told["searches"] if s["search"].startswith("hparams:")]
    tab.frame.locator(".picker").select_option(value=search["search"])
    run = next(r for r in told["runs"] if r["scalars"])
    row = tab.frame.locator(f'.row:has(.id[data-trial="{run["trial_id"]}"])')
    scalar = run["scalars"][0]
    row.get_by_text(
        f"{scalar['tag']} not finite from epoch {scalar['first_epoch'] + 1}"
    ).wait_for()


def test_executions_are_told_where_there_are_several(
    tab: Tab, told: dict[str, Any]
) -> None:
    runs = choose(tab, told, "RandomSearch")
    labels = tab.frame.locator(".row .exec").all_inner_texts()
    assert sorted(labels) == sorted(f"exec {r['execution'] + 1}/2" for r in runs)
    choose(tab, told, "GridSearch")
    assert set(tab.frame.locator(".row .exec").all_inner_texts()) <= {""}


def test_a_band_is_checked_off(tab: Tab, told: dict[str, Any]) -> None:
    runs = choose(tab, told, "RandomSearch")
    trials = {r["trial_id"]: r["hparams"]["rate"] for r in runs}
    tab.adjust("facet", "rate")
    band = tab.frame.locator(".row.heading", has_text="rate = 0.01").locator("input.band")
    # A row that stood for a run and is a band's heading now leaves the run's id to its row.
    ids = tab.frame.eval_on_selector_all(".row", "rows => rows.map(r => r.id)")
    assert ids.count("") == 2 and len({i for i in ids if i}) == len(ids) - 2
    band.uncheck()
    strip = tab.frame.locator(".removed-strip")
    gone = sum(rate == 0.01 for rate in trials.values())
    assert f"loses {gone} of {len(trials)} clean" in strip.inner_text()
    # One edit is on screen: that of what was done last.
    edits = tab.frame.locator(".main pre:visible")
    edits.filter(has_text="hp.Choice").wait_for()  # the server writes it
    (edit,) = edits.all_inner_texts()
    assert edit.endswith('hp.Choice("rate", [0.02])')
    assert tab.frame.locator(".row.removed:not(.heading)").count() == 2 * gone
    strip.get_by_role("button", name="keep all").click()
    assert band.is_checked() and strip.is_hidden()


def test_a_press_outlives_what_is_drawn_meanwhile(tab: Tab, told: dict[str, Any]) -> None:
    """A band's check box stays itself: the keyboard's place, and a click that has begun."""
    choose(tab, told, "RandomSearch")
    tab.adjust("facet", "rate")
    band = tab.frame.locator(".row.heading", has_text="rate = 0.01").locator("input.band")
    held = band.element_handle()
    strip = tab.frame.locator(".removed-strip")
    band.focus()
    for checked in (False, True):
        tab.page.keyboard.press("Space")
        assert band.is_checked() == checked == strip.is_hidden()
    for column in ("score", "trial", "score", "trial"):
        tab.sort_by(column)  # other rows, in other places
        assert held.evaluate("e => e.isConnected && e.checkVisibility()")
        title = held.evaluate("e => e.closest('.row').innerText")
        assert title.startswith("rate = 0.01")
    box = held.bounding_box()
    tab.page.mouse.move(box["x"] + 5, box["y"] + 5)
    tab.page.mouse.down()
    tab.page.evaluate("document.body.classList.toggle('dark-mode')")
    tab.frame.wait_for_selector('html[data-theme="dark"]', state="attached")
    tab.page.mouse.up()
    assert strip.is_visible()
    tab.page.evaluate("document.body.classList.toggle('dark-mode')")
    tab.frame.wait_for_selector('html[data-theme="light"]', state="attached")
    strip.get_by_role("button", name="keep all").click()


def test_the_keyboard_goes_through_the_bands_from_top_to_bottom(
    tab: Tab, told: dict[str, Any]
) -> None:
    """Rows are used again for other lines: their order in the document follows."""
    choose(tab, told, "RandomSearch")
    tops = "rows => rows.map(row => row.getBoundingClientRect().top)"
    seen_orders = set()
    for column in ("trial", "trial", "rate", "rate", "facet"):
        tab.adjust("facet", "rate") if column == "facet" else tab.sort_by(column)
        rows = tab.frame.locator(".row")
        drawn = rows.evaluate_all(tops)
        assert len(drawn) > 3 and drawn == sorted(drawn)
        seen_orders.add(tuple(rows.all_inner_texts()))
    assert len(seen_orders) > 2
    bands = tab.frame.locator("input.band:visible")
    bands.first.focus()
    seen = []
    for _ in range(bands.count()):
        at = tab.frame.locator("input.band:focus")
        seen.append(at.bounding_box()["y"])
        for _ in range(9):  # past buttons between
            tab.page.keyboard.press("Tab")
            if tab.frame.locator("input.band:focus").count():
                break
    assert len(set(seen)) == bands.count() and seen == sorted(seen)


def test_bands_are_in_the_link_and_back_undoes(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    outcomes: pathlib.Path,
    told: dict[str, Any],
) -> None:
    tab = Tab(browser, serve(outcomes, "true"), 1500, 1000)
    tab.wait_for_rows()
    choose(tab, told, "RandomSearch")
    tab.adjust("facet", "rate")

    def band(value: str) -> Any:
        return tab.frame.locator(f'.row.heading:has-text("rate = {value}") input.band')

    def shown() -> tuple[str, int]:
        return (
            tab.frame.locator(".removed-strip").inner_text(),
            tab.frame.locator(".row.removed:not(.heading)").count(),
        )

    band("0.01").uncheck()
    tab.wait_for_hash("without=")
    before = shown()
    assert before[1] > 0 and band("0.02").is_checked()
    tab.page.reload()
    tab.frame = tab._frame()
    tab.wait_for_rows()
    band("0.01").wait_for()
    assert not band("0.01").is_checked() and band("0.02").is_checked()
    assert shown() == before
    tab.page.evaluate("history.back()")
    tab.page.wait_for_function("!location.hash.includes('without=')")
    tab.frame.locator(".removed-strip").wait_for(state="hidden")
    assert band("0.01").is_checked()
    assert tab.frame.locator(".row.removed").count() == 0
    tab.page.evaluate("history.forward()")
    tab.wait_for_hash("without=")
    tab.frame.locator(".removed-strip").wait_for()
    assert not band("0.01").is_checked() and shown() == before
    tab.check()
    tab.close()


def test_lanes_are_zoomed_by_keyboard_and_by_dragging(
    tab: Tab, told: dict[str, Any]
) -> None:
    choose(tab, told, "RandomSearch")
    whole = tab.frame.locator(".zoom-out")
    tab.frame.locator(".grid").focus()
    tab.page.keyboard.press("+")
    whole.wait_for()
    tab.page.keyboard.press("0")
    whole.wait_for(state="detached")
    box = tab.frame.locator(".ticks").bounding_box()
    y = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] * 0.5, y)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.9, y, steps=4)
    tab.page.mouse.up()
    whole.click()
    whole.wait_for(state="detached")


def test_a_range_of_a_column_filters(tab: Tab, told: dict[str, Any]) -> None:
    runs = choose(tab, told, "Hyperband")
    box = tab.frame.locator(".bounds").first.bounding_box()
    y = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + 1, y)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] / 2, y, steps=4)
    tab.page.mouse.up()
    tab.frame.wait_for_function(
        "document.querySelector('input[type=search]').value.includes('rate>=')"
    )
    shown = [t.removeprefix("↳ ") for t in tab.trials()]
    assert 0 < len(shown) < len(runs)
    rates = {r["trial_id"]: r["hparams"]["rate"] for r in runs}
    kept, gone = (
        [rates[t] for t in shown],
        [r for t, r in rates.items() if t not in shown],
    )
    assert max(kept) < min(gone)
