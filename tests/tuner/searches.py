"""Small searches with known fates, and the report on what they logged."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from tensorboard.context import RequestContext

from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.reading.report.overview import overview as overview_of
from tests.support.told import as_json

RNG = np.random.RandomState(0)
X = RNG.randn(64, 4).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)

TUNERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "RandomSearch": (keras_tuner.RandomSearch, {"max_trials": 2}),
    "BayesianOptimization": (keras_tuner.BayesianOptimization, {"max_trials": 2}),
    "Hyperband": (keras_tuner.Hyperband, {"max_epochs": 2, "factor": 2}),
    "GridSearch": (keras_tuner.GridSearch, {"max_trials": 2}),
}


def linear(rate: float, **compiled: Any) -> Any:
    """A linear model; its loss is convex, so that the rate alone decides its fate."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(rate), "mse", **compiled)
    return model


def with_rates(*rates: float) -> Any:
    """Builds linear models of these learning rates, a choice each."""

    def build(hp: Any) -> Any:
        return linear(hp.Choice("rate", list(rates)))

    return build


def bad(hp: Any) -> Any:
    """A model whose loss and weights overflow after some dozen steps."""
    return linear(hp.Choice("rate", [100.0, 200.0]))


def good(hp: Any) -> Any:
    """A model that lives."""
    return linear(hp.Choice("rate", [0.01, 0.02]))


def make(name: str, build: Any, path: Path, **more: Any) -> Any:
    """Makes a tuner; its project lies in `path / "tuner"`."""
    cls, own = TUNERS[name]
    options = {
        "objective": "val_loss",
        "directory": path / "tuner",
        "project_name": "project",
        "seed": 1,
        # Too many for any of these searches to be given up, unless a test says so.
        "max_consecutive_failed_trials": 100,
    }
    return cls(build, **(options | own | more))


def search(tuner: Any, *callbacks: Any, **more: Any) -> None:
    options = {"validation_data": (X, Y), "epochs": 2, "batch_size": 2, "verbose": 0}
    options |= {"callbacks": list(callbacks)} | more
    if isinstance(tuner, keras_tuner.Hyperband):
        options.pop("epochs")  # Hyperband sets it itself
    tuner.search(X, Y, **options)


def overview(log: Path) -> dict[str, Any]:
    """Returns the overview of a log directory, as the command reads it."""
    reader = Reader(make_provider(str(log)), clock=time.time)
    snapshot = reader.snapshot(RequestContext(), "")
    causes = Causes(reader).of(RequestContext(), "", snapshot.sessions)
    full = as_json(overview_of(snapshot, causes))
    assert full["warnings"] == []
    assert [r["damage"] for r in full["runs"]] == [[]] * len(full["runs"])
    return full


def sessions(log: Path) -> list[Session]:
    """Returns all sessions below a log directory."""
    return Reader(make_provider(str(log))).snapshot(RequestContext(), "").sessions


def run_of(full: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the deciding run of this name."""
    (run,) = [r for r in full["runs"] if r["run"] == name and not r["superseded"]]
    return run
