"""What somebody reads of one plain fit before any click or scroll."""

import pathlib
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import HERE, read_report, run_program
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def on_screen(tab: Tab, selector: str) -> bool:
    """Whether all of an element lies within the window, with nothing over it."""
    found: bool = tab.frame.evaluate(
        """(selector) => {
          const box = document.querySelector(selector).getBoundingClientRect();
          const inside = box.top >= 0 && box.left >= 0 && box.height > 0 &&
            box.bottom <= innerHeight && box.right <= innerWidth;
          const top = document.elementFromPoint(box.left + 4, box.top + 4);
          return inside && document.querySelector(selector).contains(top);
        }""",
        selector,
    )
    return found


def opened(browser: Any, url: str, width: int = 1280) -> Tab:
    tab = Tab(browser, url, width=width)
    tab.frame.wait_for_selector(".answer h2", timeout=60_000)
    tab.frame.wait_for_selector(".heat canvas", state="visible")
    return tab


# Whose files the loader is given, and which loader reads them, have nothing to do with each
# other.
@pytest.mark.parametrize(("directory", "load_fast"), [("", "true"), ("my_fit", "false")])
def test_the_answer_of_a_plain_fit_is_on_the_first_screen(
    directory: str,
    load_fast: str,
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    plain: pathlib.Path,
) -> None:
    tab = opened(browser, serve(plain / "my_fit" if not directory else plain, load_fast))
    (run,) = read_report(plain)["runs"]
    answer = run["answer"]
    facts = {name: tab.fact(name) for name in ("why", "fix", "where", "tested")}
    assert facts["why"].startswith(answer["why"][:60]) and "tested" in facts["why"]
    assert facts["fix"].startswith(answer["fix"])
    assert answer["tested"] == f"Tested: {facts['tested']}"
    assert all(on_screen(tab, f'[data-fact="{name}"]') for name in facts)
    title = " ".join(tab.frame.locator(".answer h2").inner_text().split())
    assert title.startswith(f"my_fit {answer['happened']}")
    # Nothing is there to be compared, and nothing is to be chosen.
    for absent in (".table", ".controls", ".header", ".verdict", ".what-next"):
        assert not tab.frame.locator(absent).first.is_visible(), absent
    assert "1 of 1" not in tab.frame.locator("main").inner_text()
    tab.page.keyboard.press("Escape")
    assert tab.frame.locator(".detail").is_visible()
    tab.check()
    tab.close()


def test_it_fits_a_narrow_window(
    browser: Any, serve: Callable[[pathlib.Path, str], str], plain: pathlib.Path
) -> None:
    tab = opened(browser, serve(plain, "true"), width=900)
    assert on_screen(tab, '[data-fact="why"]') and on_screen(tab, '[data-fact="fix"]')
    wide = tab.frame.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide
    tab.close()


def test_a_clean_fit_says_so(
    browser: Any, serve: Callable[[pathlib.Path, str], str], scaled: pathlib.Path
) -> None:
    tab = opened(browser, serve(scaled, "true"))
    said = tab.fact("clean")
    assert re.match(r"All finite: 64 steps, \d+ tensors; the largest output or", said)
    tab.check()
    tab.close()


def test_a_second_run_brings_the_table_back(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    tmp_path: pathlib.Path,
    plain: pathlib.Path,
    scaled: pathlib.Path,
) -> None:
    shutil.copytree(scaled, tmp_path / "logs" / "first")
    tab = opened(browser, serve(tmp_path / "logs", "true"))
    shutil.copytree(plain / "my_fit", tmp_path / "logs" / "second")
    # Who comes back to the page need not wait for the next look, half a minute later.
    tab.frame.wait_for_function(
        """() => {
          document.dispatchEvent(new Event("visibilitychange"));
          return document.querySelector(".row .trial .id:not(:empty)");
        }""",
        polling=500,
        timeout=60_000,
    )
    assert not tab.frame.locator(".answer").is_visible()
    assert tab.frame.locator(".header").is_visible()
    tab.check()
    tab.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The log directory above that of one plain fit that goes bad."""
    root = tmp_path_factory.mktemp("plain")
    run_program(root, str(HERE / "plain_fit.py"), str(root / "my_fit"))
    return root


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The log directory of one plain fit that stays finite."""
    root = tmp_path_factory.mktemp("scaled")
    run_program(root, str(HERE / "plain_fit.py"), str(root / "logs"), "scaled")
    return root / "logs"
