"""What all tests share: the browser, and what they have to say once they are over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.support import longest
from tests.support.garbage import set_graphs_aside

# On a busy machine one example may take any time.
settings.register_profile("nanwatch", deadline=None)
settings.load_profile("nanwatch")

# Headless Chromium without a sandbox (tests may run as root) and without calls home.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: longest.place(item.nodeid))


@pytest.fixture(scope="module", autouse=True)
def left_over_graphs_are_not_searched_again() -> Iterator[None]:
    yield
    set_graphs_aside()


def missing(what: str) -> None:
    """Skips where something is not installed; under CI nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    chromium = os.environ.get("NANWATCH_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        missing(
            "Chromium is not installed: apt-get install chromium, or set NANWATCH_CHROMIUM"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=CHROMIUM_FLAGS
        )
        yield browser
        browser.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what the fault-injection campaign scored, whichever process ran it."""
    scores = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "score"
    ]
    if scores:
        terminalreporter.section("faults recovered")
        for line in scores:
            terminalreporter.write_line(str(line))
