# SPDX-License-Identifier: Apache-2.0
"""Measures the cost of the tab with many trials: `make bench-tab`.

Writes a log directory (benchmarks/generated.py) unless it exists, starts TensorBoard on it
with its defaults, and measures NaN Watch's requests beside those of the HParams plugin on
the same server, then the tab in Chromium. Prints Markdown: what was measured, the target,
and whether it was reached. Times are medians where they are taken more than once.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import generated

ROOT = pathlib.Path(__file__).resolve().parent.parent
# TensorBoard with its own plugins, and with ours as a user gets it or without reading ahead.
LAUNCHER = """
import sys
from tensorboard import default, program
from tb_nanwatch.reading.tab.loader import NanWatchLoader
from tb_nanwatch.reading.tab.plugin import NanWatchPlugin
how, *arguments = sys.argv[1:]
if how == "unprepared":
    NanWatchPlugin.warm_up = lambda self: None
ours = [] if how == "without" else [NanWatchLoader]
board = program.TensorBoard(plugins=[*default.get_static_plugins(), *ours])
board.configure(["tensorboard", *arguments])
sys.exit(board.main())
"""
STATUSES = [
    "STATUS_UNKNOWN",
    "STATUS_SUCCESS",
    "STATUS_FAILURE",
    "STATUS_RUNNING",
]
# Of cuts whose edit is asked for, one after the other, as a hand moves one.
BOUNDS = [0.01 * n for n in range(1, 10)]
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FRAMES = """async () => {
  const table = document.querySelector(".table");
  const times = [];
  let last = performance.now();
  for (let i = 0; i < 120; i++) {
    table.scrollTop += 66;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  table.scrollTop = 0;
  return times.slice(5);
}"""
# From the event to the frame in which its effect has been drawn.
TIMED = """async (act) => {
  const drawn = () => new Promise((done) =>
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = done;
      channel.port2.postMessage(0);
    }));
  await drawn();
  const began = performance.now();
  eval(act);
  await drawn();
  return performance.now() - began;
}"""
SORT = "document.querySelector('[data-column=\"%s\"]').click()"
FILTER = (
    "{const f = document.querySelector('input[type=search]');"
    "f.value = %r; f.dispatchEvent(new Event('input'));}"
)
CUT = (
    "document.querySelector('.cut-handle').dispatchEvent("
    "new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true}))"
)


class Table:
    """A table of measurements, printed row by row."""

    def __init__(self) -> None:
        print("| | measured | target | |\n|---|---|---|---|")

    def row(self, what: str, measured: float, unit: str, target: float | None) -> None:
        """Prints one row; without a target it is for comparison."""
        text = f"{measured:,.0f}" if measured >= 10 else f"{measured:.1f}"
        goal = "" if target is None else f"{target:,.0f} {unit}"
        verdict = (
            "" if target is None else "reached" if measured <= target else "**missed**"
        )
        print(f"| {what} | {text} {unit} | {goal} | {verdict} |", flush=True)


@contextlib.contextmanager
def started(
    program: list[str], logdir: pathlib.Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Starts TensorBoard on a free port; yields its address and its process.

    Args:
        program: what Python is to run as TensorBoard.
        logdir: what it is to show.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--logdir={logdir}", f"--port={port}", "--host=127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, *program, *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def server(logdir: pathlib.Path, how: str, runs: int) -> Iterator[tuple[str, int]]:
    """Starts TensorBoard; yields its address and process once all is loaded."""
    with started(["-c", LAUNCHER, how], logdir) as (address, process):
        url = f"{address}/data"
        _wait_for_runs(url, runs, process)
        yield url, process.pid


def _wait_for_runs(url: str, runs: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if len(json.loads(ask(f"{url}/runs")[0])) >= runs:
                time.sleep(8)  # the last files, and what is read ahead
                return
        time.sleep(0.5)
    raise RuntimeError(f"TensorBoard did not load {runs} runs within ten minutes")


def ask(url: str, body: Any = None) -> tuple[bytes, float]:
    """Returns an answer, unzipped, and the milliseconds until it was there."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=300) as response:
        answer = response.read()
        took = 1e3 * (time.perf_counter() - began)
        zipped = response.headers.get("Content-Encoding") == "gzip"
    return gzip.decompress(answer) if zipped else answer, took


def session_groups(url: str, trials: int) -> float:
    """Returns the milliseconds that the HParams tab waits for its table, cold."""
    hparams = f"{url}/plugin/hparams"
    experiment = json.loads(ask(f"{hparams}/experiment", {"experimentName": ""})[0])
    columns = [{"hparam": h["name"]} for h in experiment["hparamInfos"]]
    query = {
        "experimentName": "",
        "allowedStatuses": STATUSES,
        "colParams": columns,
        "startIndex": 0,
        "sliceSize": trials,
    }
    answer, took = ask(f"{hparams}/session_groups", query)
    found = len(json.loads(answer)["sessionGroups"])
    if found != trials:
        raise RuntimeError(f"HParams showed {found} of {trials} trials")
    return took


def edit_url(url: str, search: str, bound: float) -> str:
    """Returns the request for the edit that leaves out learning rates beyond a bound."""
    query = {"search": search, "hparam": "learning_rate", "op": "ge", "bound": bound}
    return f"{url}/plugin/nanwatch/edit?{urllib.parse.urlencode(query)}"


def resident_mb(pid: int) -> float:
    """Returns the resident memory of a process, without its children."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory")


def measure_server(logdir: pathlib.Path, trials: int, table: Table) -> None:
    """Prints the time and the memory that requests take."""
    with server(logdir, "without", 2 * trials) as (url, pid):
        session_groups(url, trials)
        alone = resident_mb(pid)
    with server(logdir, "unprepared", 2 * trials) as (url, _):
        _, unprepared = ask(f"{url}/plugin/nanwatch/overview")
    with server(logdir, "prepared", 2 * trials) as (url, pid):
        overview = f"{url}/plugin/nanwatch/overview"
        answer, cold = ask(overview)
        cached = statistics.median(ask(overview)[1] for _ in range(9))
        search = json.loads(answer)["searches"][0]
        lanes = [
            ask(f"{url}/plugin/nanwatch/lanes?search={search['search']}&block={i}")[1]
            for i in range(len(search["lanes"]))
        ]
        edits = [ask(edit_url(url, search["search"], bound))[1] for bound in BOUNDS]
        groups = session_groups(url, trials)
        memory = resident_mb(pid) - alone
    table.row("HParams' session_groups, cold", groups, "ms", None)
    table.row("overview, cold", cold, "ms", groups / 3)
    table.row("overview, cold, had nothing been read ahead", unprepared, "ms", None)
    table.row("overview, from the cache", cached, "ms", 5)
    table.row(f"all lanes, in {len(lanes)} requests", sum(lanes), "ms", None)
    table.row("the edit of a cut", statistics.median(edits), "ms", 50)
    table.row("server memory added", memory, "MB", 150)


def measure_tab(logdir: pathlib.Path, trials: int, table: Table) -> None:
    """Prints the waiting times of a person in the tab."""
    with server(logdir, "prepared", 2 * trials) as (url, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        frame = open_tab(page, url)
        thread = Thread(page)
        for what, took in reopened(frame).items():
            table.row(what, took, "ms", 500 if "lanes" in what else None)
        frame.evaluate(TIMED, SORT % "hparam:learning_rate")
        if frame.locator(".cut-handle").is_hidden():
            frame.locator(".cut-button").click()
        acts = {
            "a cut moved": [CUT] * 7,
            "a sort": [SORT % c for c in ("score", "onset", "trial", "hparam:units")] * 2,
            "a filter": [FILTER % text for text in ("units>64", "-bad", "")] * 3,
        }
        for what, act in acts.items():
            before = thread.busy()
            times = [frame.evaluate(TIMED, a) for a in act]
            table.row(what, statistics.median(times), "ms", 50)
            busy = (thread.busy() - before) / len(act)
            table.row(f"{what}: the main thread's own time", busy, "ms", None)
        before = thread.busy()
        frames = frame.evaluate(FRAMES)
        busy = (thread.busy() - before) / len(frames)
        table.row("scrolling, the longest of 115 frames", max(frames), "ms", 33)
        table.row("scrolling, median frame", statistics.median(frames), "ms", None)
        table.row("scrolling: the main thread's own time a frame", busy, "ms", None)
        details = [open_trial(frame, i) for i in range(2, 9)]
        table.row("a trial's detail", statistics.median(details), "ms", 100)


class Thread:
    """Processor time of the page's main thread, whatever else the machine does."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy(self) -> float:
        """Returns milliseconds so far."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return 1e3 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def open_tab(page: Any, url: str) -> Any:
    """Opens TensorBoard at the tab and waits until nothing moves; returns its frame."""
    page.goto(url.removesuffix("/data") + "/#nanwatch")
    frame = plugin_frame(page)
    frame.wait_for_selector(".row .trial .id:not(:empty)", timeout=120_000)
    page.wait_for_timeout(5000)
    return frame


def reopened(frame: Any) -> dict[str, float]:
    """Opens the tab's page again, in an idle TensorBoard; returns milliseconds.

    Each is the median of five, from the page's beginning.
    """
    rows, lanes = [], []
    for _ in range(5):
        frame.goto(frame.url)
        rows.append(
            frame.wait_for_function(
                "document.querySelector('.row .trial .id:not(:empty)') && performance.now()",
                timeout=60_000,
            ).json_value()
        )
        lanes.append(
            frame.wait_for_function(
                "document.querySelector('canvas.lane[data-drawn=true]') && performance.now()",
                timeout=60_000,
            ).json_value()
        )
        frame.wait_for_timeout(1500)
    return {
        "first rows after the tab was opened": statistics.median(rows),
        "first lanes after the tab was opened": statistics.median(lanes),
    }


def open_trial(frame: Any, place: int) -> float:
    """Returns the milliseconds from the click on a row to its map on the screen."""
    frame.evaluate("document.querySelector('.table').scrollTop = 0")
    took: float = frame.evaluate(
        """async (place) => {
          const rows = [...document.querySelectorAll(".row:not(.heading)")];
          const row = rows[place];
          const began = performance.now();
          row.click();
          const title = row.querySelector(".id").textContent;
          for (;;) {
            await new Promise(requestAnimationFrame);
            const shown = document.querySelector(".detail h2")?.textContent ?? "";
            const map = document.querySelector(".heat canvas");
            if (shown.includes(title) && map?.checkVisibility()) break;
          }
          return performance.now() - began;
        }""",
        place,
    )
    frame.wait_for_timeout(300)
    return took


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Starts the browser."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("NANWATCH_CHROMIUM") or shutil.which("chromium")
    if not path:
        raise RuntimeError("Chromium is not installed; set NANWATCH_CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def plugin_frame(page: Any) -> Any:
    """Returns the frame that holds the tab."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for frame in page.frames:
            if "plugin_entry.html" in frame.url:
                return frame
        page.wait_for_timeout(5)
    raise RuntimeError("the tab's frame did not come within a minute")


def bundle_kb() -> float:
    """Returns the gzipped kilobytes that the browser loads for the tab."""
    static = ROOT / "tb_nanwatch" / "static"
    return sum(len(gzip.compress(p.read_bytes())) for p in static.iterdir()) / 1000


def many(logdir: pathlib.Path, trials: int, table: Table) -> None:
    """Prints how soon the tab opens with very many trials."""
    with server(logdir, "prepared", trials) as (url, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        frame = open_tab(page, url)
        for what, took in reopened(frame).items():
            table.row(f"{trials:,} trials: {what}", took, "ms", 3000)


def main() -> None:
    """Measures what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=pathlib.Path, default=ROOT / "build" / "bench-tab")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000, help="0 leaves it out")
    a = parser.parse_args()
    # The data server holds every event file open, and systems allow few more than ten
    # thousand: very many trials have no scalars beside them, which only HParams shows.
    plans: list[tuple[int, int, int, Callable[..., None]]] = [
        (a.trials, 100, 50, measure_server),
        (a.trials, 100, 50, measure_tab),
    ]
    if a.many:
        plans.append((a.many, 5, 2, many))
    for trials, epochs, layers, _ in plans:
        logdir = a.logs / f"{trials}-{epochs}-{layers}"
        if not (logdir / ".complete").exists():
            shutil.rmtree(logdir, ignore_errors=True)
            generated.write(logdir, trials, epochs, layers, scalars=trials != a.many)
            (logdir / ".complete").touch()
    table = Table()
    table.row("bundle, gzipped", bundle_kb(), "kB", 120)
    for trials, epochs, layers, measure in plans:
        measure(a.logs / f"{trials}-{epochs}-{layers}", trials, table)
    load = os.getloadavg()[0]
    print(f"\n{os.cpu_count()} cores; load average of the last minute {load:.1f}.")


if __name__ == "__main__":
    main()
