"""Searches that ended in all the ways that the tab has to tell apart.

python -m tests.browser.outcomes DIRECTORY
"""

import contextlib
import pathlib
import sys
from typing import Any

import keras

from tb_nanwatch import NanWatch
from tests.tuner.searches import linear, make, search, with_rates


def aborted(root: pathlib.Path) -> None:
    """Three trials fail in a row, and KerasTuner gives the search up."""

    def build(hp: Any) -> Any:
        n = hp.Int("n", 0, 5)
        with hp.conditional_scope("n", [0, 1]):
            hp.Choice("extra", [1])
        return linear([0.01, 0.01, 1e8, 1e8, 1e8, 0.01][n])

    tuner = make("GridSearch", build, root, max_trials=6, max_consecutive_failed_trials=3)
    with contextlib.suppress(RuntimeError):
        watch = NanWatch(root / "log", experiments=0)
        search(tuner, watch, batch_size=4, epochs=4)


def inherited(root: pathlib.Path) -> None:
    """Hyperband goes on with trials that had gone bad."""
    build = with_rates(*[1e12 * i for i in range(1, 13)])
    tuner = make(
        "Hyperband", build, root, max_epochs=4, factor=2, project_name="hyperband"
    )
    # What its trials went on with is told, and no experiment.
    search(tuner, NanWatch(root / "log", experiments=0), batch_size=64)


def unwatched(root: pathlib.Path) -> None:
    """KerasTuner's own TensorBoard callback, without NaN Watch."""
    build = with_rates(0.01, 1e8)
    tuner = make("GridSearch", build, root, max_trials=2, project_name="without")
    board = keras.callbacks.TensorBoard(root / "log" / "old", write_graph=False)
    search(tuner, board, batch_size=32, epochs=3)


def executions(root: pathlib.Path) -> None:
    """Each trial is trained twice."""
    tuner = make(
        "RandomSearch",
        with_rates(0.01, 0.02),
        root,
        max_trials=2,
        executions_per_trial=2,
        project_name="twice",
    )
    search(tuner, NanWatch(root / "log"), batch_size=32, epochs=1)


if __name__ == "__main__":
    directory = pathlib.Path(sys.argv[1])
    for run in (aborted, inherited, unwatched, executions):
        run(directory)
