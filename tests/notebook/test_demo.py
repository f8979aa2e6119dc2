"""The demo's notebook runs from top to bottom, and says what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.kernel import kernel
from tests.notebook.test_cells import cards, the_card

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NOTEBOOK = Path(__file__).resolve().parents[2] / "demo" / "notebook.ipynb"


def test_it_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbformat, run = kernel()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    run(notebook, tmp_path)
    said = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    _, fit, scaled, search, report, markdown = said
    first = the_card(fit)
    assert first.startswith("NaN Watch: fit diverged at epoch 1, batch ")
    assert "Inputs and labels not scaled." in first
    # The fix, applied as it is worded.
    assert the_card(scaled).startswith("NaN Watch: All finite: ")
    words = " ".join(the_card(search).split())
    assert "of 6 watched trials went bad." in words
    assert "Learning rate too high." in words
    (card,) = cards(report)
    shown = " ".join(card.data["text/plain"].split())
    assert "notebook: " in shown and "fit diverged at epoch 1" in shown
    # One fix, in the cell of the search and in the report: where to cut, and the edit.
    assert "Narrow `learning_rate` in the search space: " in words
    assert "Narrow `learning_rate` by this edit: " in shown
    assert words.count(" Fix ") == 1 and "Lower the learning rate to" not in shown + words
    assert (tmp_path / "logs/notebook/report.html").is_file()
    assert markdown[0].text.count("**✅ NaN Watch: fit_scaled: All finite") == 1
