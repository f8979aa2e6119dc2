"""The tab while a search trains: what is new comes by itself, what was chosen stays."""

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.tab import Tab

HERE = pathlib.Path(__file__).resolve().parent

pytestmark = [pytest.mark.browser, pytest.mark.slow]


# The first row below the head of the table, and how far below; how far it was scrolled.
SEEN = """() => {
  const table = document.querySelector(".table");
  const edge = table.querySelector(".head-group").getBoundingClientRect().bottom;
  const rows = [...table.querySelectorAll(".row")]
    .map((r) => [r.querySelector(".id")?.textContent, r.getBoundingClientRect().top - edge])
    .filter(([id, top]) => id && top >= 0)
    .sort((a, b) => a[1] - b[1]);
  return {row: rows[0], scrolled: table.scrollTop};
}"""


def row(tab: Tab, trial: str) -> Any:
    return tab.frame.locator(f'.row:has(.id[data-trial="{trial}"])')


# The other loader tells the same tale twice as slowly; tests/live has both.
@pytest.mark.parametrize("load_fast", ["true"])
def test_new_trials_and_onsets_come_while_the_selection_stays(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    tmp_path: pathlib.Path,
    load_fast: str,
) -> None:
    logs, flags = tmp_path / "logs", tmp_path / "flags"
    logs.mkdir()
    flags.mkdir()
    with (tmp_path / "output").open("w") as output:
        search = subprocess.Popen(
            [
                sys.executable,
                str(HERE / "live_search.py"),
                *map(str, (logs, tmp_path / "tuner", flags)),
            ],
            cwd=HERE.parent.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        # Low, so that the panel's facts have to be scrolled; with room for what the verdict
        # says of the first bad trial: the selected row stays in sight before all else.
        tab = Tab(browser, serve(logs, load_fast), height=660)
        tab.wait_for_rows()
        # Named as KerasTuner prints it, which counts from one: its identity is 12.
        row(tab, "12").get_by_text("clean so far").wait_for(timeout=60_000)
        tab.frame.get_by_text("1 running").wait_for()
        row(tab, "12").click()
        tab.frame.wait_for_selector(".detail:not([hidden])")
        tab.frame.locator(".grid").focus()
        tab.page.keyboard.press("+")
        tab.frame.locator(".zoom-out").wait_for()
        facts = tab.frame.locator(".facts")
        facts.evaluate("node => { node.scrollTop = 24 }")
        tab.wait_for_hash("zoom=")
        tab.frame.locator(".table").evaluate("node => { node.scrollTop -= 30 }")
        seen = tab.frame.evaluate(SEEN)
        assert seen["scrolled"] > 22  # rows, of 22 pixels each, lie above

        (flags / "go").touch()
        news = tab.frame.locator("p[aria-live=polite]")
        news.get_by_text("Trial #14: ").wait_for(timeout=60_000, state="attached")
        # It stands above all others, out of sight: what was read stays where it was.
        new = tab.frame.evaluate(SEEN)
        assert new["row"] == seen["row"] and new["scrolled"] >= seen["scrolled"] + 22
        # What goes on is the running trial that died, and all that was chosen stays.
        tab.frame.get_by_text("1 running").wait_for()
        assert "Trial #13" in tab.frame.locator(".detail h2").inner_text()
        assert "selected" in (row(tab, "12").get_attribute("class") or "")
        assert tab.frame.locator(".zoom-out").is_visible()
        assert facts.evaluate("node => node.scrollTop") == 24

        (flags / "end").touch()
        tab.frame.get_by_text("1 running").wait_for(state="detached", timeout=60_000)
        assert search.wait(60) == 0, (tmp_path / "output").read_text()
        assert tab.frame.evaluate(SEEN)["row"] == seen["row"]
        tab.frame.locator(".table").evaluate("node => { node.scrollTop = 0 }")
        row(tab, "13").wait_for()
        assert tab.trials()[0] == "13"
        assert "zoom=0.25-0.75" in tab.hash()
        zoomed = tab.frame.locator(".ticks").inner_text()
        assert facts.evaluate("node => node.scrollTop") == 24
        # TensorBoard's own reload of the page takes the zoom and the trial from the link.
        tab.page.reload()
        tab.frame = tab._frame()
        tab.wait_for_rows()
        tab.frame.locator(".zoom-out").wait_for()
        assert tab.frame.locator(".ticks").inner_text() == zoomed
        assert "Trial #13" in tab.frame.locator(".detail h2").inner_text()
        tab.check()
        tab.close()
    finally:
        search.kill()
        search.wait()
