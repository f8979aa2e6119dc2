"""What runs without a tuner are judged by, from the callback to the report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.reading.report import terminal
from tests.support.told import as_overview
from tests.tuner.searches import overview

X = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


class Own(keras.callbacks.Callback):
    """Adds a metric of one's own to the logs, after NanWatch has seen them."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_f1"] = 0.1 * (epoch + 1)


class Named(keras.metrics.Mean):
    """A metric that does not say which way is better."""

    def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> Any:
        return super().update_state(p)


def fit(path: Path, rate: float, *more: Any, val: bool = True, **options: Any) -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.SGD(rate), "mse", metrics=["binary_accuracy", Named("own")]
    )
    watch = NanWatch(path, hparams={"rate": rate}, capsules=0, experiments=0, **options)
    return model.fit(
        X, Y, epochs=2, verbose=0, validation_data=(X, Y) if val else None,
        callbacks=[watch, *more],
    ).history  # fmt: skip


def test_it_is_the_last_validation_loss_and_names_the_best_run(tmp_path: Path) -> None:
    kept = {n: fit(tmp_path / "loop" / n, r) for n, r in (("a", 1e-3), ("b", 0.1))}
    full = overview(tmp_path)
    (search,) = full["searches"]
    assert (search["search"], search["name"]) == ("by-hand:loop", "loop")
    assert (search["objective"], search["direction"]) == ("val_loss", "min")
    for run in full["runs"]:
        history = kept[run["run"].removeprefix("loop/")]
        assert run["score"] == history["val_loss"][-1] and run["best_step"] == 1
    out = io.StringIO()
    fit(tmp_path / "loop" / "c", 1e30)
    terminal.render(as_overview(overview(tmp_path)), out)
    last = {n: history["val_loss"][-1] for n, history in kept.items()}
    best = min(last, key=lambda n: last[n])
    assert f"Best: loop/{best}, val_loss {last[best]:.4g}." in out.getvalue()


@pytest.mark.parametrize(
    ("score", "val", "name", "direction"),
    [
        (None, False, "loss", "min"),
        ("val_binary_accuracy", True, "val_binary_accuracy", "max"),
        (("val_own", "max"), True, "val_own", "max"),
        (("val_f1", "max"), True, "val_f1", "max"),
    ],
)
def test_it_is_what_was_named(
    score: Any, val: bool, name: str, direction: str, tmp_path: Path
) -> None:
    history = fit(tmp_path / "a", 1e-3, Own(), val=val, score=score)
    fit(tmp_path / "b", 1e-2, Own(), val=val, score=score)
    full = overview(tmp_path)
    (search,) = full["searches"]
    assert (search["objective"], search["direction"]) == (name, direction)
    assert full["runs"][0]["score"] == pytest.approx(history[name][-1])


def test_a_score_that_nobody_can_rank_or_find_is_one_warning(tmp_path: Path) -> None:
    with pytest.warns(
        NanWatchWarning, match=r'\("val_own", "max"\)|\(\'val_own\', "max"\)'
    ):
        fit(tmp_path / "a", 1e-3, score="val_own")
    with pytest.warns(NanWatchWarning, match="hold no number of that name, but .*'loss'"):
        fit(tmp_path / "b", 1e-3, score="val_acuracy")
    runs = {r["run"]: r for r in overview(tmp_path)["runs"]}
    assert runs["a"]["score"] is not None and runs["b"]["score"] is None


def test_a_score_of_damaged_weights_is_no_result(tmp_path: Path) -> None:
    fit(tmp_path / "a", 1e-3, score="val_binary_accuracy")
    fit(tmp_path / "b", 1e30, score="val_binary_accuracy")
    runs = {r["run"]: r for r in overview(tmp_path)["runs"]}
    assert runs["a"]["misread"] is None
    assert runs["b"]["misread"] == "damaged_score"
    assert runs["b"]["misread_text"].startswith("Its score is the val_binary_accuracy ")
    assert "KerasTuner" not in runs["b"]["misread_text"]


@pytest.mark.parametrize("score", [3, ("a", "b", "c"), ["val_f1", 1], "", ("f", "up")])
def test_what_is_no_score_is_refused(score: Any, tmp_path: Path) -> None:
    with pytest.raises(
        (TypeError, ValueError), match=r"^score must be .*received .*Pass"
    ):
        NanWatch(tmp_path, score=score)


def test_each_directory_is_a_search_of_its_own(tmp_path: Path) -> None:
    for place in ("optuna/0", "optuna/1", "ray/0", "ray/1", "alone"):
        fit(tmp_path / place, 1e-3)
    names = {s["search"]: s["trials"] for s in overview(tmp_path)["searches"]}
    assert names == {"by-hand:optuna": 2, "by-hand:ray": 2, "": 1}
