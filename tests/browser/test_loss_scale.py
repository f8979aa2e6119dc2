"""The loss scale of a real training in mixed precision, and its skipped steps, as drawn."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import HERE, run_program
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_loss_scale_is_drawn_with_its_skipped_steps(
    browser: Any, serve: Callable[[pathlib.Path, str], str], tmp_path: pathlib.Path
) -> None:
    logs = tmp_path / "logs"
    run_program(tmp_path, str(HERE / "scaled_fit.py"), str(logs / "fit"))
    tab = Tab(browser, serve(logs, "true"))
    tab.frame.wait_for_selector(".answer h2", timeout=60_000)
    run = tab.page.evaluate(
        "fetch('data/plugin/nanwatch/overview').then((r) => r.json())"
        ".then((o) => o.runs[0])"
    )
    scaling = tab.page.evaluate(
        "([run, session]) => fetch('data/plugin/nanwatch/run?' + new URLSearchParams("
        "{run, session})).then((r) => r.json()).then((d) => d.loss_scaling)",
        [run["run"], run["session"]],
    )
    skipped = int(sum(scaling["skipped_steps"]))
    assert run["skipped_steps"] == skipped
    assert run["loss_scale"] == scaling["loss_scale"][-1]
    assert skipped > 0 and scaling["loss_scale"][-1] < scaling["loss_scale"][0] * 2
    tab.frame.get_by_role("button", name="loss scale").click()
    chart = tab.frame.locator(".chart")
    assert chart.locator("h3").inner_text() == "Loss scale"
    assert f"{skipped} steps skipped" in chart.inner_text()
    plot = chart.get_by_role("slider")
    plot.focus()
    tab.page.keyboard.press("End")
    told = plot.get_attribute("aria-valuetext")
    assert f"loss scale {scaling['loss_scale'][-1]:g}" in told.replace(",", "")
    tab.frame.get_by_role("button", name="range", exact=True).click()
    assert chart.locator("h3").inner_text().startswith("Range of ")
    tab.check()
    tab.close()
