"""A stability search in the tab: frontier and intervals, marked, without a score."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import OUTPUT, read_report, run_program
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("stability")
    run_program(root, "-m", "tests.browser.stability", str(root))
    return root / "log"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (900, True)])
def test_the_frontier_is_drawn_as_it_is_told(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    logs: pathlib.Path,
    width: int,
    dark: bool,
) -> None:
    told = read_report(logs)
    real, search = told["searches"]
    (boundary,) = search["frontier"]["boundaries"]
    tab = Tab(browser, serve(logs, "true"), width, 800)
    if dark:
        tab.page.evaluate("document.body.classList.add('dark-mode')")
    tab.wait_for_rows()
    # The real search is the newer one: it says how it fared in the space that lives.
    frontier = tab.frame.locator(".stability")
    assert frontier.inner_text() == real["afterwards"]
    assert tab.frame.locator('[data-fact="purpose"]').count() == 0

    tab.frame.locator(".picker").select_option(value=search["search"])
    tab.frame.locator(".boundary").wait_for()
    assert tab.fact("purpose") == "stability search"
    assert tab.frame.locator(".boundary-text").inner_text() == boundary["text"]
    # Living below, dying above, and nothing claimed between the two.
    boxes = {
        side: tab.frame.locator(f".boundary-bar .{side}").bounding_box()
        for side in ("lives", "unsure", "dies", "half")
    }
    lives, unsure, dies, half = (boxes[s] for s in ("lives", "unsure", "dies", "half"))
    assert lives and unsure and dies and half
    assert lives["x"] + lives["width"] == pytest.approx(unsure["x"], abs=1)
    assert unsure["x"] + unsure["width"] == pytest.approx(dies["x"], abs=1)
    assert unsure["x"] - 2 <= half["x"] <= dies["x"] + 1
    dots = tab.frame.locator(".boundary-bar .dot")
    bad = tab.frame.locator(".boundary-bar .dot.bad")
    assert (dots.count(), bad.count()) == (search["trials"], search["frontier"]["bad"])
    code = tab.frame.locator(".edit code").inner_text()
    assert code == search["frontier"]["code"]
    # No score, though its tuner has an objective of its own.
    assert "went_bad" not in tab.frame.locator("main").inner_text()
    bar = tab.frame.locator(".boundary-bar").bounding_box()
    assert bar is not None and bar["x"] + bar["width"] <= width
    OUTPUT.mkdir(exist_ok=True)
    tab.page.screenshot(path=OUTPUT / f"stability_{width}.png")
    tab.check()
    tab.close()
