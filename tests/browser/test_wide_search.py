"""What the first screen of a wide search shows without a click, in pixels, and its filters."""

import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import HERE, read_report, run_program
from tests.browser.tab import Tab, bad_runs

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The log directory of a search of many trials, some of which go bad."""
    root = tmp_path_factory.mktemp("wide")
    run_program(root, str(HERE / "wide.py"), str(root / "logs"), str(root / "tuner"))
    return root / "logs"


@pytest.fixture(scope="module")
def told(wide: pathlib.Path) -> dict[str, Any]:
    """What `tb-nanwatch report --json` prints of it."""
    return read_report(wide)


Opened = Callable[..., Tab]


@pytest.fixture
def opened(
    browser: Any, serve: Callable[[pathlib.Path, str], str], wide: pathlib.Path
) -> Opened:
    """Returns a function that opens the tab in a window of a width and a height."""

    def make(width: int = 1280, height: int = 800) -> Tab:
        tab = Tab(browser, serve(wide, "true"), width, height)
        tab.wait_for_rows()
        tab.frame.wait_for_selector(".cut", state="visible")
        return tab

    return make


def box(tab: Tab, selector: str) -> dict[str, float]:
    """Where an element lies in the window, TensorBoard's own bar included."""
    found: dict[str, float] = tab.frame.locator(selector).first.bounding_box()
    return found


def test_answer_controls_and_ten_rows_are_on_the_first_screen(opened: Opened) -> None:
    tab = opened()
    assert box(tab, ".verdict")["height"] <= 160
    assert box(tab, ".controls")["height"] == 32
    tops = [control["y"] for control in all_boxes(tab, ".controls > :visible")]
    bottoms = [c["y"] + c["height"] for c in all_boxes(tab, ".controls > :visible")]
    assert max(bottoms) - min(tops) <= 32
    # In the whole window, TensorBoard's own bar included.
    rows = sorted(r["y"] for r in all_boxes(tab, ".row:not(.heading)"))
    assert rows[0] < 340
    assert sum(y + 22 <= 800 for y in rows) >= 10
    # Why and what to change are in sight, and the code that does it.
    for selector in ('[data-fact="why"]', '[data-fact="fix"]', ".edit code"):
        found = box(tab, selector)
        assert found["y"] + found["height"] <= box(tab, ".controls")["y"], selector
    assert tab.frame.get_by_role("button", name="show all").is_hidden()
    tab.check()
    tab.close()


def all_boxes(tab: Tab, selector: str) -> list[dict[str, float]]:
    return [found.bounding_box() for found in tab.frame.locator(selector).all()]


@pytest.mark.parametrize("width", [900, 1920])
def test_nothing_is_cut_off_or_overlaps(opened: Opened, width: int) -> None:
    tab = opened(width)
    overflow = tab.frame.evaluate(
        """() => [...document.querySelectorAll(
                ".header, .verdict, .verdict-body, .edit pre, .controls, .cut-body")]
            .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className)"""
    )
    assert overflow == []
    parts = [box(tab, s) for s in (".header", ".verdict", ".controls", ".table")]
    for above, below in itertools.pairwise(parts):
        assert above["y"] + above["height"] <= below["y"] + 1
    tab.close()


def test_the_edit_follows_the_cut_and_is_alone(
    opened: Opened, told: dict[str, Any]
) -> None:
    tab = opened()
    code = tab.frame.locator(".main pre:visible")
    edit = told["findings"][0]["edit"]
    assert code.all_inner_texts() == [edit]
    tab.frame.get_by_role("separator").focus()
    tab.page.keyboard.press("ArrowDown")
    assert code.count() == 1 and code.inner_text() != edit
    bound = tab.frame.locator(".cut strong").inner_text().rsplit(" ", 1)[1]
    assert f"at most {bound}" in tab.frame.locator(".edit-title").inner_text()
    tab.page.keyboard.press("Delete")
    assert code.all_inner_texts() == [edit]
    tab.close()


def test_what_is_counted_filters(opened: Opened, told: dict[str, Any]) -> None:
    tab = opened()
    bad = {run["trial_id"] for run in bad_runs(told)}
    everyone = set(tab.trials())
    button = tab.frame.get_by_role("button", name="bad only")
    button.click()
    assert set(tab.trials()) == bad
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert set(tab.trials()) == everyone
    tab.frame.locator('[data-fact="happened"] button').click()
    assert set(tab.trials()) == bad
    tab.frame.locator('[data-fact="happened"] button').click()
    counted = tab.frame.locator('.counts [data-word="diverged"]')
    counted.focus()
    tab.page.keyboard.press("Enter")
    diverged = {r["trial_id"] for r in told["runs"] if r["status"] == "diverged"}
    assert set(tab.trials()) == diverged
    # It can be pressed again: the keyboard's place is where it was.
    tab.page.keyboard.press("Enter")
    assert set(tab.trials()) == everyone
    tab.close()


def test_how_sure_it_is_stands_behind(opened: Opened, told: dict[str, Any]) -> None:
    tab = opened()
    finding = told["findings"][0]
    shown = tab.frame.locator(".verdict").inner_text()
    assert finding["condition"] in shown and " p " not in shown
    tab.frame.get_by_role("button", name="how sure?").click()
    more = tab.frame.locator('[data-fact="more"]').inner_text()
    assert "corrected p = " in more and told["searches"][0]["cost"]["text"] in more
    tab.close()
