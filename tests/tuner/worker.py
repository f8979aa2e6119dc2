"""One process of a distributed search: KERASTUNER_* in its environment say which.

python worker.py DIRECTORY MAX_CONSECUTIVE_FAILED_TRIALS
python worker.py DIRECTORY "staggered [hastily]": each start overwrites the project
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import keras

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.search import identities
from tests.tuner.searches import make, search, with_rates

path = pathlib.Path(sys.argv[1])
staggered = sys.argv[2].startswith("staggered")
if sys.argv[2] == "staggered hastily":  # not even a while for the others to stir
    identities.WAIT_SECONDS = 0.0  # type: ignore[misc]


class Slow(keras.callbacks.Callback):
    """Leaves trials to the late worker, and rests while that one deletes the project.

    KerasTuner fails where one process writes into what another deletes.
    """

    trainings = 0  # of the class: a tuner copies its callbacks

    def on_train_begin(self, logs: Any = None) -> None:
        Slow.trainings += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        time.sleep(0.1)
        if tuner.tuner_id == "tuner0" and Slow.trainings == 2:
            (path / "tuner0.rests").touch()
            until((path / "tuner1.ready").exists)


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there() and time.monotonic() < deadline:
        time.sleep(0.1)


rates = [0.01, 1e8, 0.02, 1e9, 0.03, 1e10]
limit = 100 if staggered else int(sys.argv[2])
if limit < 4:
    rates = [1e8, 1e9, 1e10, 1e11]
tuner = make(
    "RandomSearch",
    with_rates(*rates),
    path,
    max_trials=len(rates),
    max_consecutive_failed_trials=limit,
    overwrite=staggered,
)
(path / f"{tuner.tuner_id}.ready").touch()
if "chief" not in tuner.tuner_id and not staggered:
    # Both workers begin together, and share the trials.
    until(lambda: all((path / f"tuner{i}.ready").exists() for i in range(2)))
# How a search is shared is asked, and of the staggered ones nothing else.
watch = NanWatch(path / "log", experiments=0 if staggered else 10)
callbacks = [watch, *([Slow()] if staggered else [])]
search(tuner, *callbacks, batch_size=8, epochs=2)
