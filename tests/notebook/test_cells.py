"""What a training says in a notebook, in a real kernel that runs each cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.kernel import kernel
from tests.reading.test_page import read_page

pytestmark = [
    pytest.mark.slow,
    # Of tornado and zmq, whose sockets a kernel's end leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BEGIN = """
import keras, keras_tuner, numpy as np, os, tb_nanwatch
from tb_nanwatch import NanWatch

x = np.ones((64, 4), "float32")
y = np.ones((64, 1), "float32")
bad = x.copy()
bad[40] = np.nan

def model(rate=0.01):
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile(keras.optimizers.SGD(rate), "mse")
    return made

class Presses(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 6:
            raise KeyboardInterrupt

def search(data, **more):
    def build(hp):
        return model(hp.Float("rate", 1e-3, 1e-2))
    tuner = keras_tuner.RandomSearch(
        build, objective="loss", max_trials=2, overwrite=True, directory="tuners",
        max_consecutive_failed_trials=more.pop("limit", 9),
    )
    tuner.search(data, y, epochs=1, verbose=1, callbacks=[NanWatch("search", **more)])
"""
CELLS = {
    "begin": BEGIN,
    "clean": 'model().fit(x, y, verbose=0, callbacks=[NanWatch("clean")]);',
    "bad": 'model().fit(bad, y, verbose=0, callbacks=[NanWatch("bad")]);',
    "cleared": "from IPython.display import clear_output\n"
    "class Clears(keras.callbacks.Callback):\n"
    "    def on_epoch_end(self, epoch, logs=None): clear_output()\n"
    'model().fit(bad, y, verbose=0, callbacks=[NanWatch("cleared"), Clears()]);',
    "raises": "model().fit(bad, y, verbose=0, "
    'callbacks=[NanWatch("raises", on_nonfinite="raise")]);',
    "pressed": "model().fit(bad, y, batch_size=8, shuffle=False, verbose=0, "
    'callbacks=[NanWatch("pressed"), Presses()]);',
    # Nothing of NaN Watch's hears of this exception.
    "dies": "def batches():\n"
    "    for i in range(3): yield bad[32:], y[32:]\n"
    "    raise ValueError('no more')\n"
    'model().fit(batches(), verbose=0, callbacks=[NanWatch("dies")]);',
    "search": "search(bad)",
    "aborted": "search(bad, limit=2)",
    "good search": "search(x)",
    "report": 'tb_nanwatch.report("bad")',
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The outputs of each cell, as a notebook that is saved then holds them."""
    nbformat, run = kernel()
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(code) for code in CELLS.values()]
    run(notebook, tmp_path_factory.mktemp("notebook"), allow_errors=True)
    yield {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def cards(outputs: list[Any]) -> list[Any]:
    return [o for o in outputs if "text/html" in o.get("data", {})]


def the_card(outputs: list[Any]) -> str:
    """The text of the only card; HTML and text say the same."""
    (card,) = cards(outputs)
    text: str = card.data["text/plain"]
    shown = " ".join(read_page(card.data["text/html"]).text.split())
    words = text.replace("NaN Watch: ", "").replace("`", "").split()
    at = [shown.find(word) for word in words]
    assert -1 not in at, [w for w, a in zip(words, at, strict=True) if a < 0]
    return text


def printed(outputs: list[Any]) -> str:
    return "".join(o.text for o in outputs if o.output_type == "stream")


def test_the_cells_run(outputs: dict[str, Any]) -> None:
    failed = {
        name
        for name, found in outputs.items()
        if any(o.output_type == "error" for o in found)
    }
    assert failed == {"raises", "pressed", "dies", "aborted"}


@pytest.mark.parametrize("name", ["clean", "bad", "cleared", "raises", "pressed", "dies"])
def test_a_fit_has_one_card_that_ends_with_its_answer(
    outputs: dict[str, Any], name: str
) -> None:
    text = the_card(outputs[name])
    assert "NaN Watch" not in printed(outputs[name])
    if name == "clean":
        assert re.fullmatch(r"NaN Watch: All finite: \d+ steps, \d+ tensors\.", text)
        return
    assert f"NaN Watch: {name} diverged at epoch 1, batch " in text
    assert "\n  Why    NaN or Inf in the data." in text
    assert "\n  Fix    " in text and f"tb_nanwatch.report('{name}')" in text


@pytest.mark.parametrize("name", ["search", "aborted"])
def test_a_search_keeps_its_answer_although_kerastuner_clears_the_cell(
    outputs: dict[str, Any], name: str
) -> None:
    text = the_card(outputs[name])
    assert "NaN Watch: 2 of 2 watched trials went bad." in text
    assert "Trial #1 diverged" in " ".join(text.split())
    assert "Trial #2 diverged" in " ".join(text.split())
    assert "\n  Fix    " in text
    # What it printed is gone, which is what this is about.
    assert "Running Trial #1" not in printed(outputs[name])
    assert "NaN Watch: " not in printed(outputs[name])


def test_a_good_search_has_a_card_too(outputs: dict[str, Any]) -> None:
    assert the_card(outputs["good search"]) == ("NaN Watch: All finite: 2 trials.")


def test_a_report_shows_itself(outputs: dict[str, Any]) -> None:
    assert the_card(outputs["report"]).startswith("NaN Watch: bad diverged at ")


def test_no_value_of_a_row_is_kept(outputs: dict[str, Any], tmp_path: Path) -> None:
    for found in outputs.values():
        for card in cards(found):
            assert not re.search(r"https?:|<script", card.data["text/html"])
