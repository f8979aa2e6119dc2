"""Experiments at the end of a run that went bad: cause and fix are tried, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.postmortem import experiments
from tb_nanwatch.record.schema import Experiment, PostMortem
from tb_nanwatch.writing.search.verdict import TunerState
from tests.postmortem.steps import first_step
from tests.postmortem.test_experiments import too_high_a_rate
from tests.tuner.searches import overview

L = keras.layers
RNG = np.random.default_rng(3)
X = RNG.normal(size=(320, 6)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)
GOOD_RATE, BAD_RATE = 0.01, 30.0


def mlp(rate: Any, loss: Any = "mse") -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), L.Dense(16, "relu"), L.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


def run_of(
    tmp_path: Path, model: Any, x: Any, y: Any, *callbacks: Any, **watch: Any
) -> dict[str, Any]:
    """Fits and returns what is told of the run."""
    epochs = watch.pop("epochs", 3)
    watched = [*callbacks, NanWatch(tmp_path, **watch)]
    model.fit(x, y, epochs=epochs, shuffle=False, verbose=0, callbacks=watched)
    (run,) = overview(tmp_path)["runs"]
    return dict(run)


def tried(run: dict[str, Any]) -> dict[str, Any]:
    return {e["change"]: e for e in run["postmortem"]["experiments"] if e["tried"]}


def test_inputs_and_labels_that_have_to_be_scaled_both(tmp_path: Path) -> None:
    x = 1e6 * RNG.random((320, 6)).astype(np.float32)
    y = 1e4 * RNG.random((320, 1)).astype(np.float32)
    run = run_of(tmp_path, mlp(GOOD_RATE), x, y)
    cause = run["causes"][0]
    assert (cause["id"], cause["sure"]) == ("unscaled_data", "tested")
    assert "Scale both" in cause["fix"]
    changes = tried(run)
    assert not changes["inputs"]["finite"] and not changes["labels"]["finite"]
    both = changes["inputs_and_labels"]
    assert both["finite"] and both["learns"] and both["first"] == 0
    assert [c["id"] for c in run["causes"] if c["sure"] == "tested"] == ["unscaled_data"]


class Raise(keras.callbacks.Callback):
    """Raises the learning rate at some batch of the second epoch."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations.numpy() == 14:
            self.model.optimizer.learning_rate = BAD_RATE


@pytest.mark.parametrize("later", [False, True])
def test_a_rate_that_is_too_high(tmp_path: Path, later: bool) -> None:
    model = mlp(GOOD_RATE if later else BAD_RATE)
    run = run_of(tmp_path, model, X, Y, *([Raise()] if later else []))
    changes = tried(run)
    assert changes["unchanged"]["steps"] == run["onset"]["step"] + 1
    kept = [e for c, e in changes.items() if c[:13] == "learning_rate" and e["learns"]]
    assert kept and all(e["finite"] and e["first"] == 0 for e in kept)
    cause = run["causes"][0]
    assert (cause["id"], cause["sure"]) == ("learning_rate", "tested")
    (said,) = [e for e in cause["evidence"] if e.startswith("Tested: ")]
    assert "run again from step 0 on with a learning rate of " in said
    assert "and the loss falls from " in said
    best = max(kept, key=lambda e: e["value"])
    assert cause["fix"].startswith(f"Lower the learning rate to {best['value']:.3g}.")
    # As far as it was to go.
    assert best["first"] + best["steps"] >= 30 and "whole training" in said
    assert run["postmortem"]["planned_steps"] == 30


def test_a_rate_that_fails_further_on_is_no_fix(tmp_path: Path) -> None:
    """What some steps survive says nothing of a training that is to go on for long.

    Of two weights one is learnt, and the other's error grows from 1e-8 to no end: 1.2-fold
    a step with a tenth of the rate, whose loss has fallen after 80 steps all the same.
    """
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 80, np.float32)
    x = signs * np.array([1.0, 11**0.5], np.float32)
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, use_bias=False)])
    model.set_weights([np.array([[0.0], [1e-8]], np.float32)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    run = run_of(tmp_path, model, x, signs[:, :1], epochs=80, experiments=60)
    changes = tried(run)
    assert changes["learning_rate/10"]["steps"] > run["onset"]["step"] + 65
    assert not changes["learning_rate/10"]["finite"]
    assert changes["learning_rate/31.6"]["finite"]
    cause = run["causes"][0]
    assert (cause["id"], cause["sure"]) == ("learning_rate", "tested")
    assert cause["fix"].startswith("Lower the learning rate to 0.0316")


def test_the_rates_of_a_schedule_are_lowered(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, 100, warmup_target=BAD_RATE, warmup_steps=10
    )
    model = mlp(schedule)
    run = run_of(tmp_path, model, X, Y, experiments=60)
    assert model.optimizer._learning_rate is schedule
    kept = [e for c, e in tried(run).items() if c[:9] == "schedule/" and e["learns"]]
    assert kept
    best = max(kept, key=lambda e: e["value"])
    cause = run["causes"][0]
    assert (cause["id"], cause["sure"]) == ("learning_rate", "tested")
    divisor = float(best["change"].partition("/")[2])
    rates = f"CosineDecay(initial_learning_rate=0, warmup_target={BAD_RATE / divisor:.3g}"
    assert rates in cause["fix"]
    said = " ".join(cause["evidence"])
    assert "with the rates of the schedule CosineDecay divided by" in said


def test_a_rate_is_not_named_where_no_lower_one_helps(tmp_path: Path) -> None:
    def loss(y: Any, p: Any) -> Any:
        return keras.ops.mean(keras.ops.square(p - y) / keras.ops.abs(y))

    y = Y.copy()
    y[200] = 0
    run = run_of(tmp_path, mlp(0.02, loss), X, y)
    changes = tried(run)
    rates = [e for c, e in changes.items() if c.startswith("learning_rate/")]
    assert rates and not any(e["finite"] for e in rates)
    assert "learning_rate" not in [c["id"] for c in run["causes"]]
    cause = run["causes"][0]
    assert (cause["id"], cause["sure"]) == ("loss_domain", "tested")
    assert changes["batch"]["finite"] and changes["rows"]["finite"]


def test_a_setting_that_no_training_survives(tmp_path: Path) -> None:
    x = X.copy()
    x[:, 0] = 0  # its weights have no gradient
    makes = {
        "epsilon": keras.optimizers.Adam(0.003, epsilon=0.0),
        "beta_1": keras.optimizers.Adam(0.003, beta_1=1.0),
        "momentum": keras.optimizers.SGD(0.1, momentum=1.0),
        "weight_decay": keras.optimizers.SGD(0.01, weight_decay=3000.0),
    }
    for name, optimizer in makes.items():
        model = mlp(GOOD_RATE)
        model.compile(optimizer, "mse")
        before = getattr(optimizer, name)
        epochs = 40 if name == "momentum" else 3
        run = run_of(tmp_path / name, model, x, Y, epochs=epochs)
        usual = tried(run)["optimizer"]
        assert usual["finite"] and usual["learns"] and usual["first"] == 0, (name, usual)
        assert usual["text"].startswith("the optimizer's usual ")
        assert usual["text"].endswith(f" instead of {before:.3g} as {name}")
        assert getattr(optimizer, name) == before


def test_settings_that_others_train_with_are_left(tmp_path: Path) -> None:
    model = mlp(GOOD_RATE)
    model.compile(keras.optimizers.SGD(BAD_RATE, momentum=0.9, weight_decay=1e-4), "mse")
    assert "optimizer" not in tried(run_of(tmp_path, model, X, Y))


def runaway(rate: float = 1.5) -> Any:
    """A linear regression whose loss grows for as long as it is trained, and no further."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), L.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_a_runaway_is_run_again(tmp_path: Path) -> None:
    run = run_of(tmp_path, runaway(), X, Y)
    assert run["status"] == "runaway"
    changes = tried(run)
    # Run on for longer than it was trained, it goes bad.
    control = changes["unchanged"]
    assert control["steps"] > 30 and not (control["finite"] and control["learns"])
    kept = [e for c, e in changes.items() if c[:13] == "learning_rate" and e["learns"]]
    assert kept and all(e["first"] == 0 for e in kept)
    cause = run["causes"][0]
    assert (cause["id"], cause["sure"]) == ("learning_rate", "tested")
    assert "and the loss falls from " in " ".join(cause["evidence"])


def test_a_runaway_that_nobody_wants_to_try_has_no_post_mortem(tmp_path: Path) -> None:
    run = run_of(tmp_path / "0", runaway(), X, Y, experiments=0)
    assert run["status"] == "runaway" and run["postmortem"] is None
    run = run_of(tmp_path / "1", runaway(0.01), X, Y)
    assert run["status"] == "clean" and run["postmortem"] is None
    run = run_of(tmp_path / "2", runaway(), X, Y, rewind_bytes=0)
    assert run["postmortem"]["experiments"] == []
    assert run["postmortem"]["untried"] == "rewind_bytes is 0"


@pytest.mark.parametrize(("divisor", "settled"), [(100, True), (10, False)])
def test_what_settled_it_elsewhere_is_tried_first(divisor: int, settled: bool) -> None:
    model, x, y = too_high_a_rate()
    capsule = first_step(model, x, y)
    elsewhere = Experiment(f"learning_rate/{divisor}", "a lower rate", True, 11)
    results = experiments.run(model, capsule, PostMortem(), first=[elsewhere])
    ids = [e.change for e in results]
    assert ids[:2] == ["unchanged", elsewhere.change] and len(ids) == len(set(ids))
    assert results[1].succeeded is settled
    assert (len(ids) == 2) is settled and ("learning_rate/100" in ids)


def test_nothing_is_tried_where_nobody_wants_it(tmp_path: Path) -> None:
    run = run_of(tmp_path, mlp(BAD_RATE), X, Y, experiments=0)
    assert run["postmortem"]["experiments"] == []
    assert run["causes"][0]["sure"] != "tested"


def test_experiments_change_no_training(tmp_path: Path) -> None:
    after = []
    for seconds in (0, 10):
        model = mlp(BAD_RATE)
        run_of(tmp_path / str(seconds), model, X, Y, experiments=seconds)
        drawn = np.array(keras.random.uniform((2,)))
        values = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
        after.append([drawn, np.random.rand(2), *values])  # noqa: NPY002
    for a, b in zip(*after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_search_tries_for_a_twentieth_of_its_time() -> None:
    state = TunerState()
    assert state.seconds_to_try(10.0) == 10.0
    state.tried_for = 9.0
    assert state.seconds_to_try(10.0) == pytest.approx(1.0)
    state.began -= 1000
    assert state.seconds_to_try(10.0) == pytest.approx(41.0, abs=0.1)
    assert state.seconds_to_try(0.0) == 0.0
