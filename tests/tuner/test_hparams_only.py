"""Searches that KerasTuner's own TensorBoard callback logged, without NaN Watch."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorboard.context import RequestContext

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.overview import overview as overview_of
from tests.reading.records import LOADERS
from tests.support.told import as_json, as_overview
from tests.tuner.searches import linear, make, overview, run_of, search

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


def build(hp: Any) -> Any:
    hp.Choice("kind", ["plain"])
    hp.Boolean("flag")
    hp.Fixed("share", 0.5)
    return linear([0.01, 1e8, 1e12][hp.Int("n", 0, 2)])


def log_without(path: Path, where: str, trials: int) -> Any:
    """Runs a search with KerasTuner's own callback; returns its trials by id."""
    tuner = make("GridSearch", build, path, max_trials=trials, project_name="without")
    board = keras.callbacks.TensorBoard(path / "log" / where, write_graph=False)
    search(tuner, board, batch_size=32, epochs=3)
    return tuner.oracle.trials


@pytest.mark.parametrize("loader", sorted(LOADERS))
def test_they_appear_with_their_values_and_bad_epochs(
    loader: str, tmp_path: Path
) -> None:
    trials = log_without(tmp_path, "old", 6)
    full = overview(tmp_path / "log")
    loaded = LOADERS[loader](tmp_path / "log")
    try:
        reader = Reader(loaded.provider, max_age=0)

        def runs() -> Any:
            found: Any = as_json(overview_of(reader.snapshot(RequestContext(), "")))[
                "runs"
            ]
            return found

        loaded.wait(lambda: runs() == full["runs"])
        assert runs() == full["runs"]
    finally:
        loaded.close()
    (entry,) = full["searches"]
    assert (entry["search"], entry["name"], entry["trials"]) == ("hparams:old", "old", 6)
    assert entry["by_status"] == {"unwatched": 6}
    assert "No trial was watched. In 4 of the trials" in entry["verdict"]
    for trial_id, trial in trials.items():
        run = run_of(full, f"old/{trial_id}/execution0")
        assert (run["status"], run["state"]) == ("unwatched", "finished")
        assert (run["trial_id"], run["number"]) == (trial_id, int(trial_id) + 1)
        assert run["hparams"] == trial.hyperparameters.values
        assert {k: type(v) for k, v in run["hparams"].items()} == {
            k: type(v) for k, v in trial.hyperparameters.values.items()
        }
        assert run["epochs"] == 3
        n = run["hparams"]["n"]
        bad = {(s["phase"], s["tag"]): s for s in run["scalars"]}
        if n == 0:
            assert bad == {}
            continue
        # As the training's own metrics have it, epoch by epoch.
        losses = history(tmp_path / "log" / run["run"] / "validation")
        wrong = [e for e, v in losses.items() if not math.isfinite(v)]
        scalar = bad[("validation", "epoch_loss")]
        assert (scalar["first_epoch"], scalar["count"], scalar["total"]) == (
            *(min(wrong), len(wrong), 3),
        )
        assert scalar["text"] in printed(full)
    assert run_of(full, "old/0/execution0")["onset"] is None


def history(directory: Path) -> dict[int, float]:
    """Returns the loss of each epoch, read with TensorFlow from the event file."""
    import tensorflow as tf

    found = {}
    for path in directory.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == "epoch_loss":
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return found


def printed(full: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    return " ".join(out.getvalue().split())


def test_what_nan_watch_watched_is_not_listed_twice(tmp_path: Path) -> None:
    tuner = make("GridSearch", build, tmp_path, max_trials=2)
    board = keras.callbacks.TensorBoard(tmp_path / "log", write_graph=False)
    search(tuner, board, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    full = overview(tmp_path / "log")
    assert len(full["searches"]) == 1 and len(full["runs"]) == 2
    assert all(r["status"] != "unwatched" and r["scalars"] == [] for r in full["runs"])


def test_beside_a_watched_search_both_are_there(tmp_path: Path) -> None:
    log_without(tmp_path, "old", 1)
    tuner = make("RandomSearch", build, tmp_path, project_name="new")
    search(tuner, NanWatch(tmp_path / "log" / "new", experiments=0), batch_size=32)
    full = overview(tmp_path / "log")
    new, old = full["searches"]
    assert (new["name"], old["search"]) == ("new", "hparams:old")
    assert (new["trials"], old["trials"]) == (2, 1)
    assert "unwatched" not in new["by_status"]


def test_hparams_of_others_are_left_alone(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api

    model = linear(0.01)
    x = np.ones((2, 4), np.float32)
    # The one is named as KerasTuner names its runs, but is not one of its trials.
    for where, trial in (("0/execution0", "mine"), ("some/run", "run")):
        callback = api.KerasCallback(
            str(tmp_path / where), {"rate": 0.01}, trial_id=trial
        )
        model.fit(x, x[:, :1], verbose=0, callbacks=[callback])
    assert overview(tmp_path)["runs"] == []


class Counting:
    """Counts what is asked of a data provider."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider
        self.calls: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.provider, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, kwargs.get("plugin_name", "")))
            return method(*args, **kwargs)

        return call


def test_where_there_are_none_one_more_listing_is_all(tmp_path: Path) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    tuner = make("RandomSearch", build, tmp_path, max_trials=1)
    board = keras.callbacks.TensorBoard(tmp_path / "log", write_graph=False)
    search(tuner, board, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    provider = Counting(make_provider(str(tmp_path / "log")))
    reader = Reader(provider, max_age=0)
    assert len(reader.snapshot(RequestContext(), "").sessions) == 1
    assert not any("scalars" in name for name, _ in provider.calls)
    assert provider.calls.count(("list_tensors", "hparams")) == 1
    # Of a search without NaN Watch the scalars are read once, not at each look.
    log_without(tmp_path, "old", 1)
    provider = Counting(make_provider(str(tmp_path / "log")))
    reader = Reader(provider, max_age=0)
    first = reader.snapshot(RequestContext(), "")
    assert reader.snapshot(RequestContext(), "") is first
    names = [name for name, _ in provider.calls]
    assert names.count("list_scalars") == 2 and names.count("read_scalars") == 1
