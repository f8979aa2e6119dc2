"""The wide search again: as it is, and in the space that a stability search found to live."""

import importlib
import time
from typing import Any

import keras
import keras_tuner
import places

from tb_nanwatch import NanWatch, StabilitySearch

wide = importlib.import_module("04_wide_search")
TRIALS = 10
SHORT_TRIALS = 18
LOG = places.log_dir("stability")


def space() -> keras_tuner.HyperParameters:
    """Returns a wider range of rates; the rest is as the model declares it."""
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 100.0, sampling="log")
    return hp


def search(name: str, hyperparameters: keras_tuner.HyperParameters) -> float:
    """Runs a random search; returns the seconds that it took."""
    keras.utils.set_random_seed(1)
    tuner: Any = keras_tuner.RandomSearch(
        wide.Wide(),
        objective="val_loss",
        max_trials=TRIALS,
        max_consecutive_failed_trials=TRIALS,
        hyperparameters=hyperparameters,
        seed=6,
        directory=places.tuner_dir(),
        project_name=name,
    )
    began = time.monotonic()
    tuner.search(
        wide.x, wide.y, validation_split=0.2, epochs=3, verbose=0,
        callbacks=[NanWatch(LOG, experiments=0)],
    )  # fmt: skip
    print(f"{name}:")
    places.say(tuner)
    return time.monotonic() - began


if __name__ == "__main__":
    search("without", space())
    frontier = StabilitySearch(
        wide.Wide(),
        space(),
        max_trials=SHORT_TRIALS,
        steps=60,
        seed=6,
        log_dir=LOG,
        directory=places.tuner_dir(),
        project_name="frontier",
    )
    began = time.monotonic()
    frontier.search(wide.x, wide.y, verbose=0)
    spent = time.monotonic() - began
    frontier.report()
    seconds = search("with", frontier.stable_space())
    print(
        f"The stability search took {spent / seconds:.0%} of the time of the search after it."
    )
