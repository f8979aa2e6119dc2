"""The tab within another page, as a notebook's `%tensorboard` shows it, and its links."""

import contextlib
import http.server
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextlib.contextmanager
def page_around(url: str) -> Iterator[str]:
    """A notebook: another server, and thereby origin; its frame has a fixed height."""

    class Notebook(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            frame = f'<iframe src="{url}" width="100%" height="600"></iframe>'
            self.wfile.write(
                f"<!doctype html><link rel=icon href=data:,>{frame}".encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Notebook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_tab_works_in_a_page_of_another_origin(
    browser: Any,
    serve: Callable[[pathlib.Path, str], str],
    logdir: pathlib.Path,
    report: dict[str, Any],
) -> None:
    url = serve(logdir, "true")
    tab = Tab(browser, url, opened=False)
    tab.url = url
    with page_around(f"{url}/#nanwatch") as page:
        tab.page.goto(page)
    tab.frame = tab._frame()
    tab.wait_for_rows()
    assert len(tab.trials()) == len(report["runs"])
    tab.select(report["runs"][0]["trial_id"])
    tab.frame.locator(".detail .plain").click()
    tab.sort_by("score")
    tab.frame.locator('[aria-sort="ascending"]', has_text="score").wait_for()
    # TensorBoard within the notebook has the hash, and the notebook's own stays.
    board = tab.frame.parent_frame
    board.wait_for_function("location.hash.includes('sort=score')")
    assert "#" not in tab.page.evaluate("location.href")
    tab.requests = [r for r in tab.requests if not r.startswith(page)]
    assert tab.problems == []
    tab.check()
    tab.close()


def test_zoom_is_in_the_link_and_choices_go_back(
    browser: Any, serve: Callable[[pathlib.Path, str], str], logdir: pathlib.Path
) -> None:
    tab = Tab(browser, serve(logdir, "true"))
    tab.wait_for_rows()
    tab.frame.locator(".grid").focus()
    tab.page.keyboard.press("+")
    tab.wait_for_hash("zoom=0.25-0.75")
    zoomed = tab.frame.locator(".ticks").inner_text()
    other = Tab(browser, tab.url, hash=tab.hash())
    other.wait_for_rows()
    assert other.frame.locator(".ticks").inner_text() == zoomed
    other.check()
    other.close()
    tab.sort_by("score")
    tab.wait_for_hash("sort=score")
    tab.page.go_back()
    tab.frame.locator('[aria-sort="none"]', has_text="score").wait_for()
    # Going back takes the sort away, not the zoom that was there before it.
    assert tab.frame.locator(".ticks").inner_text() == zoomed
    tab.check()
    tab.close()
