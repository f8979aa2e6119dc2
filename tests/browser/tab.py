"""The tab in a real browser, as the tests drive it."""

import re
import urllib.parse
from typing import Any

from tb_nanwatch.wording.trial_names import trial_name

# TensorBoard's own frontend says this of itself.
NOT_OURS = re.compile(r"Multiple instances of Three\.js")
BAD = ("stalled", "score_lost", "runaway", "diverged")


def bad_runs(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The report's runs that went bad, in its order."""
    return [run for run in report["runs"] if run["status"] in BAD]


def called(run: dict[str, Any]) -> str:
    """What people are told of a trial: as KerasTuner prints it."""
    return trial_name(run["trial_id"], run["number"])


class Tab:
    """A page that shows the tab, and all that it said and asked for."""

    def __init__(
        self,
        browser: Any,
        url: str,
        width: int = 1280,
        height: int = 800,
        hash: str = "#nanwatch",
        opened: bool = True,
    ) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda e: self.problems.append(f"uncaught: {e}"))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("response", self._on_response)
        if opened:
            self.open(url, hash)

    def open(self, url: str, hash: str = "#nanwatch") -> None:
        """Goes to TensorBoard at `url`; what is routed before holds for all it loads."""
        self.url = url
        self.page.goto(f"{url}/{hash}")
        self.frame = self._frame()

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not NOT_OURS.search(message.text):
            self.problems.append(f"{message.type}: {message.text}")

    def _on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def _frame(self) -> Any:
        for _ in range(300):
            for frame in self.page.frames:
                if "plugin_entry.html" in frame.url:
                    return frame
            self.page.wait_for_timeout(100)
        raise AssertionError(f"no plugin frame among {[f.url for f in self.page.frames]}")

    def wait_for_rows(self) -> None:
        self.frame.wait_for_selector(".row .trial .id:not(:empty)", timeout=60_000)

    def trials(self) -> list[str]:
        """Trial ids from top to bottom."""
        ids: list[str] = self.frame.evaluate(
            """() => [...document.querySelectorAll(".row")]
                .filter((r) => r.getAttribute("aria-rowindex"))
                .sort((a, b) => a.getAttribute("aria-rowindex") - b.getAttribute("aria-rowindex"))
                .map((r) => r.querySelector(".trial .id")?.dataset.trial)
                .filter((t) => t)"""
        )
        return ids

    def sort_by(self, label: str) -> None:
        self.frame.get_by_role("columnheader").get_by_role(
            "button", name=label, exact=False
        ).first.click()

    def adjust(
        self, what: str, value: str | None = None, *, label: str | None = None
    ) -> None:
        """Chooses one of the options that are folded away: of the axis, order, facet, colour."""
        folded = self.frame.locator(".adjust")
        folded.locator("summary").click()
        select = folded.locator("label", has_text=what).locator("select")
        select.select_option(value=value, label=label)
        self.page.keyboard.press("Escape")
        if folded.get_attribute("open") is not None:
            folded.locator("summary").click()

    def dark(self) -> None:
        self.page.evaluate("document.body.classList.add('dark-mode')")
        self.frame.wait_for_selector('html[data-theme="dark"]', state="attached")

    def select(self, trial: str) -> None:
        row = self.frame.locator(f'.row:has(.id[data-trial="{trial}"])')
        name = row.locator(".id").inner_text().strip("↳ ")
        title = re.compile(rf"{re.escape(name)}(?!\d)")
        chosen = self.frame.locator(".detail h2", has_text=title)
        row.click()
        self.frame.wait_for_selector(".detail:not([hidden])")
        if not chosen.is_visible():
            self.page.wait_for_timeout(1000)
        if "selected" not in (row.get_attribute("class") or "").split():
            row.click()  # rows move while TensorBoard loads: another one was hit
        chosen.wait_for(state="visible")
        self.frame.wait_for_selector(".heat canvas", state="visible")

    def fact(self, name: str) -> str:
        text: str = self.frame.locator(f'[data-fact="{name}"]').inner_text()
        return text

    def hash(self) -> str:
        """The address as the tab left it; Playwright's own may lag behind."""
        text: str = self.page.evaluate("location.hash")
        return text

    def wait_for_hash(self, part: str) -> None:
        self.page.wait_for_function("part => location.hash.includes(part)", arg=part)

    def check(self) -> None:
        assert self.problems == []
        host = urllib.parse.urlsplit(self.url).netloc
        for request in self.requests:
            parts = urllib.parse.urlsplit(request)
            assert parts.scheme in ("data", "blob") or parts.netloc == host, request

    def close(self) -> None:
        self.page.close()
