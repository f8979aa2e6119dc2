"""Searches of every tuner of KerasTuner, found out by the callback alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
from tensorboard.plugins.hparams import metadata as hparams_metadata

from tb_nanwatch import NanWatch
from tests.writing.logs import Log, events_in, read_log

RNG = np.random.RandomState(0)
X, Y = RNG.randn(24, 4).astype(np.float32), RNG.randn(24, 1).astype(np.float32)


def build(hp: Any) -> Any:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(hp.Int("units", 1, 8))]
    )
    rate = hp.Float("rate", 1e-4, 1e-1, sampling="log")
    kind = hp.Choice("optimizer", ["sgd", "adam"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        if kind == "sgd":
            hp.Float("momentum", 0.0, 0.9, step=0.3)
    hp.Boolean("flag")
    hp.Fixed("fixed", 3)
    model.add(keras.layers.Dense(1))
    model.compile(keras.optimizers.get({"class_name": kind, "config": {}}), "mse")
    model.optimizer.learning_rate = rate
    return model


def search(tuner: Any, *callbacks: Any, bad: bool = False, **options: Any) -> None:
    x = X.copy()
    if bad:
        x[9, 1] = np.nan
    options = {"epochs": 2, "batch_size": 8, "verbose": 0} | options
    tuner.search(x, Y, validation_data=(X, Y), callbacks=list(callbacks), **options)


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {
        "objective": "val_loss",
        "directory": path / "tuner",
        "project_name": "project",
        "seed": 1,
    } | more


def runs(path: Path) -> dict[str, Log]:
    """Returns the log of each run, by its name."""
    found = {p.parent for p in (path / "log").rglob("*.nanwatch")}
    names = {str(p.relative_to(path / "log")): p for p in found}
    return {name: read_log(names[name]) for name in sorted(names)}


class OwnTuner(keras_tuner.RandomSearch):
    """Has a `run_trial` of its own, which calls `fit` as it likes."""

    def run_trial(self, trial: Any, *args: Any, callbacks: Any, **kwargs: Any) -> Any:
        model = self.hypermodel.build(trial.hyperparameters)
        return model.fit(*args, callbacks=callbacks, **kwargs)


TUNERS = {
    "RandomSearch": (keras_tuner.RandomSearch, {"max_trials": 2}),
    "BayesianOptimization": (keras_tuner.BayesianOptimization, {"max_trials": 2}),
    "Hyperband": (keras_tuner.Hyperband, {"max_epochs": 2, "factor": 2}),
    "GridSearch": (keras_tuner.GridSearch, {"max_trials": 2}),
    "OwnTuner": (OwnTuner, {"max_trials": 2}),
}


@pytest.mark.parametrize("name", TUNERS)
def test_every_tuner_is_recognised(name: str, tmp_path: Path) -> None:
    cls, more = TUNERS[name]
    tuner = cls(build, **options(tmp_path, **more))
    search(tuner, NanWatch(tmp_path / "log"))
    found = runs(tmp_path)
    trials = tuner.oracle.trials
    assert sorted(found) == sorted(f"{i}/execution0" for i in trials)
    identities = set()
    for run, log in found.items():
        trial = trials[run.split("/")[0]]
        status = log.status
        assert (status.run, status.trial_id) == (run, trial.trial_id)
        assert status.number == int(trial.trial_id) + 1
        assert (status.state, status.execution, status.attempt) == ("finished", 0, 0)
        s = status.search
        assert s is not None
        identities.add(s.id)
        assert (s.name, s.tuner, s.objective, s.direction) == (
            *("project", name, "val_loss", "min"),
        )
        values = {
            k: v for k, v in trial.hyperparameters.values.items() if "tuner/" not in k
        }
        active = {h.name: h.value for h in status.hparams if h.active}
        if name == "Hyperband":
            assert status.lineage is not None
            assert status.lineage.epochs == trial.hyperparameters.values["tuner/epochs"]
        else:
            assert status.lineage is None
        assert active == {
            k: v for k, v in values.items() if k != "momentum" or "momentum" in active
        }
        (verdict,) = log.all("trial")
        assert (verdict.tuner_status, verdict.aborted) == ("COMPLETED", None)
        assert verdict.score == pytest.approx(trial.score)
        assert verdict.best_step == trial.best_step
        assert (verdict.search_id, verdict.trial_id) == (s.id, trial.trial_id)
    assert len(identities) == 1
    # The best models still load, and nothing is left in the tuner.
    if name != "OwnTuner":
        tuner.get_best_models(1)[0].predict(X, verbose=0)
    assert "on_trial_end" not in vars(tuner) and "on_search_end" not in vars(tuner)


def test_the_search_space_is_kept(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=4))
    search(tuner, NanWatch(tmp_path / "log", hparams={"mine": 1, "units": -1}))
    kinds = set()
    for log in runs(tmp_path).values():
        space = {h.name: h for h in log.status.hparams}
        units, rate = space["units"], space["rate"]
        assert (units.type, units.min, units.max) == ("int", 1, 8)
        assert 1 <= units.value <= 8  # the trial's values win
        assert (rate.type, rate.min, rate.max) == ("float", 1e-4, 1e-1)
        assert rate.sampling == "log"
        kind = space["optimizer"]
        assert (kind.type, kind.values) == ("choice", ["sgd", "adam"])
        assert kind.conditions == []
        assert space["flag"].type == "boolean" and space["fixed"].type == "fixed"
        assert (space["mine"].type, space["mine"].value) == ("number", 1)
        kinds.add(kind.value)
        if "momentum" in space:
            momentum = space["momentum"]
            assert [(c.name, c.values) for c in momentum.conditions] == [
                ("optimizer", ["sgd"])
            ]
            assert momentum.active == (kind.value == "sgd")
            assert (momentum.value is None) == (not momentum.active)
    assert kinds == {"sgd", "adam"}


def test_every_execution_is_a_run(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(
        build, **options(tmp_path, max_trials=2, executions_per_trial=2)
    )
    search(tuner, NanWatch(tmp_path / "log"))
    found = runs(tmp_path)
    assert sorted(found) == [
        "0/execution0",
        "0/execution1",
        "1/execution0",
        "1/execution1",
    ]
    for run, log in found.items():
        assert log.status.execution == int(run[-1])
        assert log.status.search.executions_per_trial == 2
        assert len(log.all("trial")) == 1  # the verdict is repeated for each


def test_a_search_keeps_its_identity_when_resumed(tmp_path: Path) -> None:
    def identities() -> set[str]:
        return {
            log.of(s).status.search.id
            for log in runs(tmp_path).values()
            for s in log.sessions
        }

    for trials in (1, 2):  # the second one goes on where the first one ended
        tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=trials))
        search(tuner, NanWatch(tmp_path / "log"))
    assert len(runs(tmp_path)) == 2 and len(identities()) == 1
    again = keras_tuner.RandomSearch(
        build, **options(tmp_path, max_trials=1, overwrite=True)
    )
    search(again, NanWatch(tmp_path / "log"))
    assert len(runs(tmp_path)) == 2 and len(identities()) == 2
    other = keras_tuner.RandomSearch(
        build, **options(tmp_path, max_trials=1, project_name="other")
    )
    search(other, NanWatch(tmp_path / "log"))
    assert len(identities()) == 3


def test_a_search_that_goes_nan_is_aborted_and_said_so(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=9))
    with pytest.raises(RuntimeError, match="consecutive failures exceeded"):
        search(tuner, NanWatch(tmp_path / "log"), bad=True)
    found = runs(tmp_path)
    assert sorted(found) == [f"{i}/execution0" for i in range(3)]
    for i, log in enumerate(found.values()):
        assert log.status.status == "diverged" and log.status.state == "finished"
        assert (log.status.origin.kind, log.status.origin.num_nan) == ("input", 1)
        (verdict,) = log.all("trial")
        assert verdict.tuner_status == "FAILED" and verdict.score is None
        assert ("consecutive failures" in (verdict.aborted or "")) == (i == 2)
    assert "on_trial_end" not in vars(tuner)


def test_stop_leaves_no_score(tmp_path: Path) -> None:
    def late(hp: Any) -> Any:  # finite in the first epoch, and never after
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        hp.Float("rate", 0.1, 0.2)
        model.compile(keras.optimizers.SGD(1e18 if hp else 0.0), "mse")
        return model

    for keep in (False, True):
        path = tmp_path / str(keep)
        tuner = keras_tuner.RandomSearch(late, **options(path, max_trials=1))
        watch = NanWatch(path / "log", on_nonfinite="stop", keep_score=keep)
        search(tuner, watch, batch_size=24, epochs=5)
        (log,) = runs(path).values()
        assert (log.status.state, log.status.stopped_by) == ("stopped", "NanWatch")
        (verdict,) = log.all("trial")
        if keep:
            assert verdict.tuner_status == "COMPLETED" and verdict.score is not None
        else:
            assert verdict.tuner_status == "FAILED" and verdict.score is None


def test_fail_fails_the_trial_with_the_diagnosis(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(
        build, **options(tmp_path, max_trials=2, max_retries_per_trial=2)
    )
    search(tuner, NanWatch(tmp_path / "log", on_nonfinite="fail"), bad=True)
    for log in runs(tmp_path).values():
        assert len(log.sessions) == 1  # no retry
        status = log.status
        assert (status.state, status.error_type) == ("failed", "FailedTrialError")
        (verdict,) = log.all("trial")
        assert verdict.tuner_status == "FAILED"
        assert "input, 1 NaN of 32" in (verdict.message or "")


def test_a_retry_is_an_attempt(tmp_path: Path) -> None:
    class Flaky(keras.callbacks.Callback):
        def __init__(self, left: list[int]) -> None:
            super().__init__()
            self.left = left

        def __deepcopy__(self, memo: Any) -> Any:
            return self  # counts over all of KerasTuner's copies

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if self.left:
                self.left.pop()
                raise ValueError("flaky")

    tuner = keras_tuner.RandomSearch(
        build, **options(tmp_path, max_trials=1, max_retries_per_trial=2)
    )
    search(tuner, NanWatch(tmp_path / "log"), Flaky([0]))
    (log,) = runs(tmp_path).values()
    first, second = (log.of(s) for s in log.sessions)
    assert (first.status.state, first.status.attempt) == ("failed", 0)
    assert first.status.error_type == "ValueError" and first.status.status == "clean"
    assert (second.status.state, second.status.attempt) == ("finished", 1)
    assert [r.tuner_status for r in second.all("trial")] == ["COMPLETED"]


# --- The HParams tab ----------------------------------------------------------------


def started(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the values of each start of a session that HParams would show."""
    found = []
    for path in sorted(run_dir.glob("events*")):
        for event in events_in(path):
            for value in event.summary.value:
                if value.tag == hparams_metadata.SESSION_START_INFO_TAG:
                    info = hparams_metadata.parse_session_start_info_plugin_data(
                        value.metadata.plugin_data.content
                    )
                    found.append(
                        {
                            k: getattr(v, v.WhichOneof("kind"))
                            for k, v in info.hparams.items()
                        }
                    )
    return found


def logged(log: Log) -> dict[str, Any]:
    return {h.name: h.value for h in log.status.hparams if h.active}


def test_alone_the_callback_writes_the_standard_hparams(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=2))
    search(tuner, NanWatch(tmp_path / "log"))
    for run, log in runs(tmp_path).items():
        assert started(tmp_path / "log" / run) == [logged(log)]


def test_beside_the_users_tensorboard_it_leaves_them_to_keras_tuner(
    tmp_path: Path,
) -> None:
    tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=2))
    board = keras.callbacks.TensorBoard(tmp_path / "log", write_graph=False)
    search(tuner, board, NanWatch(tmp_path / "log"))
    found = runs(tmp_path)
    assert sorted(found) == ["0/execution0", "1/execution0"]
    for run, log in found.items():
        (theirs,) = started(tmp_path / "log" / run)
        assert {k: v for k, v in theirs.items() if k in logged(log)} == logged(log)
        assert hparams_metadata.SESSION_START_INFO_TAG not in log.others
        assert (tmp_path / "log" / run / "train").is_dir()


def test_a_tensorboard_elsewhere_leaves_it_to_the_callback(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=1))
    board = keras.callbacks.TensorBoard(tmp_path / "elsewhere", write_graph=False)
    search(tuner, board, NanWatch(tmp_path / "log"))
    (log,) = runs(tmp_path).values()
    assert started(tmp_path / "log" / "0/execution0") == [logged(log)]


def test_the_identity_stands_in_the_project(tmp_path: Path) -> None:
    tuner = keras_tuner.RandomSearch(build, **options(tmp_path, max_trials=1))
    search(tuner, NanWatch(tmp_path / "log"))
    kept = json.loads((Path(tuner.project_dir) / "nanwatch_search.json").read_text())
    (log,) = runs(tmp_path).values()
    assert log.status.search.id == kept["id"]
    assert log.status.search.started == kept["started"]
