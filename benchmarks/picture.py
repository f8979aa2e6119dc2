# SPDX-License-Identifier: Apache-2.0
"""The README's picture: the tab on the demo's search of 24 trials. `make picture`.

Starts `tensorboard` on the logs that `make demo` left, opens the tab in Chromium, clicks the
trial that went bad and was scored anyway, and writes docs/tab.png. What the README says below
its picture is about that search; compare it with what is printed here. With `--stability` it
takes those of demo/06_stability_search.py, for docs/stability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from benchmarks.tab import ROOT, chromium, plugin_frame, started

SEARCH = "wide_search"
# Of demo/06_stability_search.py: each search to a picture of its own, so high.
STABILITY = {"without": 560, "frontier": 720, "with": 560}
SIZE = {"width": 1600, "height": 1080}
START_SECONDS = 120  # TensorBoard imports TensorFlow where it is installed
QUIET_SECONDS = 5
WAIT_MS = 60_000


@contextlib.contextmanager
def tensorboard(logdir: pathlib.Path) -> Iterator[str]:
    """Starts TensorBoard as a user does; yields its address once all is loaded."""
    with started(["-m", "tensorboard.main"], logdir.resolve()) as (url, process):
        deadline = time.monotonic() + START_SECONDS
        known, since = 0, time.monotonic()
        # Rows move while TensorBoard loads: wait until no more runs come.
        while not known or time.monotonic() - since < QUIET_SECONDS:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("tensorboard shows no runs; try it on the same logs")
            time.sleep(0.3)
            found = runs(url)
            if found != known:
                known, since = found, time.monotonic()
        yield url


def runs(url: str) -> int:
    """Returns how many runs TensorBoard has loaded; 0 while it does not answer."""
    try:
        route = f"{url}/data/plugin/nanwatch/overview"
        with urllib.request.urlopen(route, timeout=10) as response:
            return len(json.loads(response.read())["runs"])
    except (OSError, urllib.error.HTTPError):
        return 0


def choose(frame: Any, name: str) -> None:
    """Shows the newest search of a name."""
    picker = frame.locator("select.picker")
    option = picker.locator("option", has_text=f"{name} · ").first
    option.wait_for(state="attached", timeout=WAIT_MS)
    picker.select_option(value=option.get_attribute("value"))


def shoot(page: Any, target: pathlib.Path) -> None:
    """Writes the picture once the tab has finished painting."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(1000)  # lanes and maps are painted in later frames
    page.screenshot(path=str(target))


def take_stability(browser: Any, url: str, directory: pathlib.Path) -> None:
    """Writes the pictures of docs/stability.md."""
    for name, height in STABILITY.items():
        page = browser.new_page(viewport={"width": 1280, "height": height})
        page.goto(f"{url}/#nanwatch")
        frame = plugin_frame(page)
        choose(frame, name)
        frame.wait_for_selector(".row .trial .id:not(:empty)", timeout=WAIT_MS)
        shoot(page, directory / f"stability_{name}.png")
        print(f"{name}: {frame.locator('[data-fact=happened]').first.inner_text()}")


def take(page: Any, url: str, target: pathlib.Path) -> str:
    """Writes the picture and returns in words what it shows.

    Args:
        page: of the browser, as large as the picture is to be.
        url: TensorBoard's.
        target: the file.
    """
    page.goto(f"{url}/#nanwatch")
    frame = plugin_frame(page)
    choose(frame, SEARCH)
    row = frame.locator(".row:has(.badge:visible)").first
    trial = row.locator(".trial .id").inner_text(timeout=WAIT_MS)
    row.click()
    frame.locator(".detail h2", has_text=f"Trial {trial}").wait_for(timeout=WAIT_MS)
    frame.wait_for_selector(".heat canvas", state="visible", timeout=WAIT_MS)
    page.mouse.move(0, 0)  # or what the pointer is over would be told
    shoot(page, target)
    shown = [frame.locator(s).first.inner_text() for s in (".detail h2", ".verdict h2")]
    return "\n".join(" ".join(text.split()) for text in shown)


def main() -> int:
    """Takes the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=pathlib.Path, default=ROOT / "demo" / "logs")
    parser.add_argument("--to", type=pathlib.Path, default=ROOT / "docs" / "tab.png")
    parser.add_argument("--stability", action="store_true")
    a = parser.parse_args()
    if a.stability:
        with tensorboard(a.logs / "stability") as url, chromium() as browser:
            take_stability(browser, url, ROOT / "docs")
        return 0
    if not (a.logs / SEARCH).is_dir():
        print(
            f"{a.logs} holds no search {SEARCH!r}; the demo makes one: DEMO_SERVE=0 make demo",
            file=sys.stderr,
        )
        return 2
    with tensorboard(a.logs) as url, chromium() as browser:
        print(take(browser.new_page(viewport=SIZE), url, a.to))
    print(f"written to {a.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
