"""A report in a notebook's cell: inside its box, and read on white and on black."""

from __future__ import annotations

from typing import Any

import pytest

from tb_nanwatch.wording.card import Card, Part, fragment

pytestmark = pytest.mark.browser

LONG = "a_name_that_is_longer_than_any_cell_" * 6
CARD = Card(
    f"{LONG} diverged at epoch 1, batch 3.",
    True,
    (Part("Why", f"`{LONG}` in {LONG}", f"x = '{LONG}'"), Part("Where", "here")),
    (f"tb_nanwatch.report({LONG!r})",),
)


@pytest.mark.parametrize("width", [320, 900])
@pytest.mark.parametrize("ground, text", [("#fff", "#111"), ("#111", "#ddd")])
def test_it_stays_in_its_box_and_takes_the_notebooks_colours(
    browser: Any, width: int, ground: str, text: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 600})
    try:
        page.set_content(
            f'<body style="background:{ground};color:{text}"><div id="cell" '
            f'style="overflow:auto">{fragment([CARD])}</div></body>'
        )
        assert page.evaluate("cell.scrollWidth <= cell.clientWidth")
        outside = page.evaluate(
            """() => [...cell.querySelectorAll("p, dt, dd, pre")].filter((e) => {
              const box = e.getBoundingClientRect();
              return box.left < 0 || box.right > innerWidth + 0.5;
            }).length"""
        )
        assert outside == 0
        colours = page.evaluate(
            """() => [...cell.querySelectorAll("p, dt, dd, pre, code")].map(
              (e) => getComputedStyle(e).color)"""
        )
        body = page.evaluate("getComputedStyle(document.body).color")
        assert colours and set(colours) == {body}
    finally:
        page.close()
