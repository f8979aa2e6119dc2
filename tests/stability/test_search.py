"""StabilitySearch on tiny real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest

from tb_nanwatch import NanWatch, StabilitySearch
from tests.tuner.searches import X, Y, linear, overview


def build(hp: Any) -> Any:
    return linear(hp.Float("rate", 1e-4, 1e3, sampling="log"))


def make(path: Path, build: Any = build, **more: Any) -> StabilitySearch:
    options = {
        "steps": 32,
        "max_trials": 14,
        "seed": 1,
        "directory": path,
        "project_name": "frontier",
    }
    return StabilitySearch(build, **(options | more))


def run(search: StabilitySearch, **more: Any) -> None:
    search.search(X, Y, batch_size=4, verbose=0, **more)


def test_the_frontier_of_a_linear_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    search = make(tmp_path, max_trials=12)
    run(search, callbacks=[NanWatch(log)], validation_data=(X, Y), epochs=3)
    trials = list(search.oracle.trials.values())
    assert {t.status for t in trials} == {"COMPLETED"}  # none failed, though many died
    assert 3 < sum(t.score for t in trials) < len(trials)
    (boundary,) = search.frontier().boundaries
    # Gradient descent on least squares: 2 over the largest eigenvalue, which for a mean
    # over four rows lies between that of all rows and the largest of a row.
    assert 0.01 < float(str(boundary.middle)) < 2.0
    text = search.report()
    assert text in capsys.readouterr().out and "32 steps" in text
    (rate,) = search.stable_space().space
    assert 1e-4 == rate.min_value < rate.max_value < 2.0
    values: dict[str, Any] = {"hp": keras_tuner.HyperParameters()}
    exec(search.stable_code(), values)
    assert values["rate"] == 1e-4

    # Resumed, it knows all, and trains no more than is left.
    again = make(tmp_path, max_trials=12)
    before = len(again.oracle.trials)
    assert before == len(trials)
    assert again.frontier().boundaries == search.frontier().boundaries

    # In the real search the bounds hold, with the model built as before.
    tuner = keras_tuner.RandomSearch(
        build,
        objective="loss",
        max_trials=2,
        hyperparameters=search.stable_space(),
        directory=tmp_path,
        project_name="real",
        seed=2,
    )
    tuner.search(X, Y, epochs=1, batch_size=16, verbose=0, callbacks=[NanWatch(log)])
    full = overview(log)
    real, frontier = full["searches"]
    assert (real["purpose"], frontier["purpose"]) == ("search", "stability")
    assert "went bad" in frontier["verdict"] and "scored" not in frontier["verdict"]
    assert frontier["frontier"]["boundaries"][0]["name"] == "rate"
    assert "0 of 2 trials went bad inside the stable space" in real["afterwards"]
    assert not [f for f in full["findings"] if f["search"] == frontier["search"]]
    scores = {r["search"]: r["score"] for r in full["runs"]}
    assert scores[frontier["search"]] is None and scores[real["search"]] is not None


def test_an_exception_is_a_failure_and_no_outcome(tmp_path: Path) -> None:
    built = []

    def broken(hp: Any) -> Any:
        built.append(hp)
        hp.Float("rate", 1e-4, 1.0, sampling="log")
        if len(built) > 1:
            raise ValueError("no such layer")
        return linear(0.1)

    search = make(tmp_path, broken)
    with pytest.raises(RuntimeError, match="consecutive failures"):
        run(search)
    with pytest.raises(ValueError, match="no trial has ended yet"):
        search.frontier()


def test_what_failed_is_tried_again_and_counted_as_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builds = []

    def flaky(hp: Any) -> Any:
        model = build(hp)
        builds.append(hp)
        if len(builds) in (3, 5, 6):
            raise ValueError("now and then")
        return model

    search = make(tmp_path, flaky, steps=2, max_trials=3, max_retries_per_trial=1)
    run(search)
    # The first build declares the space; the second trial lives at its second attempt.
    ended = {t: trial.status for t, trial in search.oracle.trials.items()}
    assert ended == {"0": "COMPLETED", "1": "COMPLETED", "2": "FAILED"}
    text = search.report()
    assert "Of 3 trials 1 raised an exception" in text
    assert "the 3 trials are spent" in text or "Unsure" not in text
    if "enough" in text:  # too few to say that anything lives
        with pytest.raises(ValueError, match="max_trials"):
            search.stable_space()


def test_a_model_without_hyperparameters_has_a_space_that_lives(tmp_path: Path) -> None:
    search = make(tmp_path, lambda hp: linear(0.1), steps=2, max_trials=1)
    run(search)
    assert search.stable_space().space == []


class Silent(keras_tuner.HyperModel):
    """Keeps the callbacks from the fit."""

    def build(self, hp: Any) -> Any:
        return build(hp)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.callbacks.History()


def test_a_fit_without_callbacks_is_said(tmp_path: Path) -> None:
    search = make(tmp_path, Silent())
    with pytest.raises(RuntimeError, match="must pass the callbacks on"):
        run(search)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"steps": 0}, ValueError),
        ({"max_trials": True}, ValueError),
        ({"objective": "loss"}, TypeError),
    ],
)
def test_invalid_arguments(tmp_path: Path, more: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make(tmp_path, **more)
