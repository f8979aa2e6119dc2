"""Trials that went bad and were scored all the same."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.report import terminal
from tests.support.told import as_overview
from tests.tuner.searches import (
    TUNERS,
    linear,
    make,
    overview,
    run_of,
    search,
    with_rates,
)

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


@pytest.mark.parametrize("name", ["RandomSearch", "BayesianOptimization", "GridSearch"])
def test_a_score_from_before(name: str, tmp_path: Path) -> None:
    # One step an epoch: the first epoch's loss is finite, and the last of all.
    tuner = make(name, with_rates(0.01, 1e12), tmp_path)
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=64, epochs=3)
    full = overview(tmp_path / "log")
    by_rate = {r["hparams"]["rate"]: r for r in full["runs"]}
    good, bad = by_rate[0.01], by_rate[1e12]
    assert (good["misread"], good["misread_text"]) == (None, None)
    assert (bad["misread"], bad["tuner_status"]) == ("stale_score", "COMPLETED")
    assert bad["best_step"] == 0 and bad["onset"]["epoch"] == 1
    assert bad["misread_text"] == (
        f"KerasTuner completed it with the score {bad['score']:.5g}, that of epoch 1; "
        "it went bad in epoch 2."
    )
    (search_entry,) = full["searches"]
    assert "1 of them was scored anyway" in search_entry["verdict"]
    assert bad["misread_text"] in printed(full)


def test_executions_are_judged_each_by_its_own_history(tmp_path: Path) -> None:
    rates = iter([1e12, 0.01])

    class Rate(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = next(rates)

    tuner = make(
        "RandomSearch", with_rates(1.0), tmp_path, max_trials=1, executions_per_trial=2
    )
    search(
        tuner, NanWatch(tmp_path / "log", experiments=0), Rate(), batch_size=64, epochs=9
    )
    full = overview(tmp_path / "log")
    bad, good = run_of(full, "0/execution0"), run_of(full, "0/execution1")
    # KerasTuner gives both the mean of their best epochs, (0 + 8) / 2, which lies
    # after the bad one's first bad step.
    assert bad["best_step"] == good["best_step"] == 4
    assert bad["onset"]["epoch"] < 4
    assert (bad["misread"], good["misread"]) == ("stale_score", None)
    assert "that of epoch 1;" in bad["misread_text"]


@pytest.mark.parametrize("name", TUNERS)
def test_an_infinite_score(name: str, tmp_path: Path) -> None:
    tuner = make(name, with_rates(1e25, 2e25), tmp_path)
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=64, epochs=1)
    full = overview(tmp_path / "log")
    infinite = [r for r in full["runs"] if r["score"] == "Infinity"]
    assert len(infinite) >= 2
    for run in infinite:
        assert (run["misread"], run["tuner_status"]) == ("infinite_score", "COMPLETED")
        assert "took the infinite objective (inf) for a result" in run["misread_text"]
        read = "The Bayesian oracle read it as 0" in run["misread_text"]
        assert read == (name == "BayesianOptimization")


def test_a_subclass_of_the_bayesian_tuner_is_known_by_its_oracle(tmp_path: Path) -> None:
    import keras_tuner

    class Own(keras_tuner.BayesianOptimization):
        pass

    tuner = Own(
        with_rates(1e25),
        objective="val_loss",
        max_trials=1,
        directory=tmp_path / "tuner",
    )
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=64, epochs=1)
    (run,) = overview(tmp_path / "log")["runs"]
    assert "The Bayesian oracle read it as 0, to be minimised" in run["misread_text"]


def test_the_bayesian_oracle_does_read_it_as_0(tmp_path: Path) -> None:
    # What the sentence says, of KerasTuner itself: the regression is fitted to zeros.
    tuner = make(
        "BayesianOptimization",
        with_rates(1e25, 0.01),
        tmp_path,
        max_trials=4,
        num_initial_points=2,
    )
    fitted = []
    fit = tuner.oracle.gpr.fit
    tuner.oracle.gpr.fit = lambda x, y: (fitted.append(y), fit(x, y))[1]
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=64, epochs=1)
    scores = [t.score for t in tuner.oracle.trials.values()]
    assert any(s == float("inf") for s in scores[: len(fitted[-1])])
    assert [float(y) for y in fitted[-1]] == [
        0.0 if s == float("inf") else pytest.approx(s) for s in scores[: len(fitted[-1])]
    ]


def test_a_recovered_loss_is_no_misreading(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        hp.Choice("rate", [0.01])
        return linear(0.01)

    tuner = make("RandomSearch", build, tmp_path, max_trials=1)
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=64, epochs=3)
    (run,) = overview(tmp_path / "log")["runs"]
    assert run["misread"] is None and run["best_step"] == 2


class Log(keras.layers.Layer):
    """The logarithm of what is above the edge; NaN where an input is below."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def call(self, x: Any) -> Any:
        return keras.ops.log(x - self.edge)


def behind_relu(hp: Any) -> Any:
    # ReLU makes 0 of NaN: the model predicts a constant, and its loss is finite.
    edge = hp.Choice("edge", [-10.0, 0.0])
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Log(edge),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=False)
    return model


OBJECTIVE = keras_tuner.Objective("val_near", "max")


def near(labels: Any, predictions: Any) -> Any:
    """How many predictions are within 1 of their labels; finite whatever they are."""
    return keras.ops.cast(keras.ops.abs(labels - predictions) < 1, "float32")


def with_accuracy(hp: Any) -> Any:
    return linear(hp.Choice("rate", [0.01]), metrics=[near])


def test_a_finite_score_of_a_model_of_nan(tmp_path: Path) -> None:
    tuner = make("GridSearch", behind_relu, tmp_path)
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=16, epochs=3)
    full = overview(tmp_path / "log")
    by_edge = {r["hparams"]["edge"]: r for r in full["runs"]}
    good, bad = by_edge[-10.0], by_edge[0.0]
    assert (good["status"], good["misread"]) == ("clean", None)
    assert (bad["status"], bad["tuner_status"]) == ("diverged", "COMPLETED")
    assert (bad["onset"]["epoch"], bad["misread"]) == (0, "damaged_score")
    assert bad["misread_text"] == (
        f"KerasTuner completed it with the score {bad['score']:.5g}, that of epoch "
        f"{bad['best_step'] + 1}, measured while weights held NaN or infinite values: it "
        "compares with nothing."
    )
    (search_entry,) = full["searches"]
    assert "1 of them was scored anyway" in search_entry["verdict"]
    assert bad["misread_text"] in printed(full)


@pytest.mark.parametrize("repaired", [True, False])
def test_weights_that_are_finite_again(repaired: bool, tmp_path: Path) -> None:
    class Meddle(keras.callbacks.Callback):
        """Makes the weights NaN in the first epoch, and finite again in the second."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0 and self.epoch < 2:
                value = math.nan if self.epoch == 0 else 0.1
                if repaired or self.epoch == 0:
                    self.model.set_weights([w * 0 + value for w in self.start])

        def on_train_begin(self, logs: Any = None) -> None:
            self.start = self.model.get_weights()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

    tuner = make(
        "RandomSearch", with_accuracy, tmp_path, max_trials=1, objective=OBJECTIVE
    )
    search(
        tuner,
        Meddle(),
        NanWatch(tmp_path / "log", experiments=0),
        batch_size=16,
        epochs=3,
    )
    (run,) = overview(tmp_path / "log")["runs"]
    assert (run["status"], run["tuner_status"]) == ("diverged", "COMPLETED")
    # Of NaN nothing is near the labels; of what was mended something is.
    assert run["misread"] == (None if repaired else "damaged_score")
    assert run["best_step"] == (2 if repaired else 0), run


def printed(full: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    return " ".join(out.getvalue().split())
