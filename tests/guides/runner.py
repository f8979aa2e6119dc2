"""Trains a program plain, watched, and with its mistake, and says what was wrong."""

from __future__ import annotations

import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np

from tb_nanwatch import NanWatch, NanWatchWarning
from tests.guides.guide import Fault, Guide, Search
from tests.support.gpu_default import gpu_default
from tests.tuner.searches import overview
from tests.writing.logs import read_log


@contextmanager
def eager_default() -> Iterator[None]:
    """Within, `compile` runs the model eagerly unless the program says otherwise."""
    compile_model = keras.Model.compile

    def compile_eagerly(self: Any, *args: Any, **options: Any) -> Any:
        options.setdefault("run_eagerly", True)
        return compile_model(self, *args, **options)

    with mock.patch.object(keras.Model, "compile", compile_eagerly):
        yield


EVERYTHING = bool(os.environ.get("NANWATCH_GUIDES"))
# What is asked here is found without experiments. They are begun, and end earlier than a
# user's, unless everything is tried as users have it.
WATCH: dict[str, Any] = {} if EVERYTHING else {"experiments": 0.2}

# How Keras runs the step: as on a CPU, as where it sees a GPU (XLA), and eagerly.
MODES: dict[str, Callable[[], Any]] = {
    "graph": nullcontext,
    "gpu": gpu_default,
    "eager": eager_default,
}


class FirstBad(keras.callbacks.Callback):
    """Counts steps, and notes the first after which logs or variables are not finite.

    A look at the whole model after every step, which knows nothing of NaN Watch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.first: int | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.first is None:
            values = [*(logs or {}).values(), *self.model.variables]
            if not all(np.isfinite(np.asarray(v, "float64")).all() for v in values):
                self.first = self.steps
        self.steps += 1


class Left:
    """What a training or search leaves behind."""

    def differences(self, other: Left) -> list[str]:
        """Returns what is not bit for bit as in the other one."""
        mine, others = vars(self), vars(other)
        return [part for part in mine if not _same(mine[part], others[part])]


@dataclass
class Trained(Left):
    """What a training leaves behind; `random` is what is drawn next."""

    variables: list[Any]
    optimizers: list[Any]
    history: dict[str, list[float]]
    random: list[Any]


@dataclass
class Searched(Left):
    """What a search leaves behind: its trials, and the weights of the best."""

    ids: list[str]
    trials: list[dict[str, Any]]
    weights: list[Any]
    random: list[Any]


def _random() -> list[Any]:
    return [np.array(keras.random.uniform((4,))), np.random.random(), random.random()]  # noqa: NPY002


def _same(a: Any, b: Any) -> bool:
    one, other = keras.tree.flatten(a), keras.tree.flatten(b)
    return len(one) == len(other) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(map(np.asarray, one), map(np.asarray, other), strict=True)
    )


def train(guide: Guide, callbacks: list[Any], fault: bool = False) -> Trained:
    """Trains from the same seed each time."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model = guide.program(callbacks, fault=fault)
    optimizers = [model.optimizer] if model.optimizer is not None else []
    optimizers += [
        value
        for value in vars(model).values()
        if isinstance(value, keras.optimizers.Optimizer) and value not in optimizers
    ]
    return Trained(
        [np.array(v) for v in model.variables],
        [[np.array(v) for v in optimizer.variables] for optimizer in optimizers],
        dict(model.history.history),
        _random(),
    )


@contextmanager
def our_warnings() -> Iterator[list[str]]:
    """Collects what NaN Watch warns of; other warnings are the program's own affair."""
    ours: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield ours
    ours += [str(w.message) for w in caught if issubclass(w.category, NanWatchWarning)]


def attempt(train: Callable[[list[Any]], Any], log_dir: Path) -> Any:
    """Calls `train` with the callback; returns its result, or in words how it failed."""
    with our_warnings() as ours:
        try:
            result = train([NanWatch(log_dir, **WATCH)])
        except Exception as e:
            return f"raises {type(e).__name__}"
    return f"warns: {ours[0].split(':')[0]}" if ours else result


def as_found(seen: Fault, must: Fault) -> str:
    """Returns what was found, "" where it is what must be."""
    if seen.name.startswith(must.name):
        must = replace(must, name=seen.name)
    if seen == must:
        return ""
    return f"{seen.kind} {seen.name!r} at step {seen.step}, {seen.status}"


# --- One training -----------------------------------------------------------------------


def identity(guide: Guide) -> str:
    """Returns in what a watched training differs from a plain one, "" in nothing."""
    counted = FirstBad()
    plain = train(guide, [counted])
    assert counted.first is None, "the program itself goes bad"
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "run"
        watched = attempt(lambda callbacks: train(guide, callbacks), log_dir)
        if isinstance(watched, str):
            return watched
        log = read_log(log_dir)
    status = log.status
    assert (status.state, status.steps) == ("finished", counted.steps)
    assert {p.kind for p in log.session.train_probes} >= {"input", "gradient", "weight"}
    if status.status != "clean":
        return f"status {status.status}"
    # Which parts differ, and how much, is another matter on another machine.
    return "differs" if plain.differences(watched) else ""


def fault(guide: Guide) -> str:
    """Returns what is found in the faulty variant, "" where it is what must be."""
    first = FirstBad()
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "run"
        watched = attempt(lambda ours: train(guide, [*ours, first], fault=True), log_dir)
        if isinstance(watched, str):
            return watched
        status = read_log(log_dir).status
    assert first.first == guide.fault.step, "the program goes bad elsewhere"
    if status.onset is None or status.origin is None:
        return f"nothing, {status.status}"
    origin = status.origin
    seen = Fault(status.onset.step, origin.kind, origin.name, status.status)
    return as_found(seen, guide.fault)


# --- One search -------------------------------------------------------------------------


def search(guide: Search, callbacks: list[Any], fault: bool = False) -> Searched:
    """Searches from the same seed each time, in a project of its own."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        tuner = guide.program(folder, callbacks, fault=fault)
        try:
            weights = tuner.get_best_models(1)[0].get_weights()
        except Exception:  # where a tuner of one's own has kept none
            weights = getattr(tuner, "last_weights", [])
    trials = [
        {
            "values": trial.hyperparameters.values,
            "status": trial.status,
            "message": (trial.message or "").splitlines()[-1:],
            "score": trial.score,
            "best_step": trial.best_step,
            "metrics": {
                name: [o.value for o in trial.metrics.get_history(name)]
                for name in trial.metrics.metrics
            },
        }
        for _, trial in sorted(tuner.oracle.trials.items())
    ]
    return Searched(sorted(tuner.oracle.trials), trials, weights, _random())


def search_identity(guide: Search) -> str:
    """Returns in what a watched search differs from a plain one, "" in nothing."""
    plain = search(guide, [])
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "logs"
        watched = attempt(lambda callbacks: search(guide, callbacks), log_dir)
        if isinstance(watched, str):
            return watched
        runs = overview(log_dir)["runs"] if guide.fault else []
    for run in runs:
        completed = run["tuner_status"] == "COMPLETED"
        if run["status"] != ("clean" if completed else "unwatched"):
            return f"status {run['status']} of {run['run']}"
    if guide.fault:
        assert {r["trial_id"] for r in runs} == set(watched.ids)
    # Which parts differ, and how much, is another matter on another machine.
    return "differs" if plain.differences(watched) else ""


def search_fault(guide: Search) -> str:
    """Returns what is found in the faulty variant, "" where it is what must be."""
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "logs"
        watched = attempt(lambda ours: search(guide, ours, fault=True), log_dir)
        if isinstance(watched, str):
            return watched
        runs = overview(log_dir)["runs"]
    assert guide.fault is not None
    wrong = []
    bad = 0
    for trial_id, trial in zip(watched.ids, watched.trials, strict=True):
        # Of several trainings of one trial, the first to begin.
        run = next(r for r in runs if r["trial_id"] == trial_id)
        if not guide.is_bad(trial["values"]):
            if run["status"] not in ("clean", "unwatched"):
                wrong.append(f"{run['status']} in a good trial")
            continue
        bad += 1
        if run["onset"] is None:
            wrong.append(f"nothing, {run['status']}")
            continue
        origin = run["origin"]
        seen = Fault(run["onset"]["step"], origin["kind"], origin["name"], run["status"])
        wrong.append(as_found(seen, guide.fault))
    assert bad, "no trial has the mistake"
    return "; ".join(sorted({w for w in wrong if w}))
