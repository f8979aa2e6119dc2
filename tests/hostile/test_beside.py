"""NanWatch among keras' callbacks and TensorBoard's plugins: each does what it does alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorboard.backend import application
from werkzeug.test import Client

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.reading.tab.loader import NanWatchLoader
from tests.hostile.conftest import Tally
from tests.reading.records import default_flags
from tests.writing.logs import read_log
from tests.writing.test_callback import assert_clean, assert_same, mlp, weights

C = keras.callbacks
pytestmark = pytest.mark.usefixtures("clean_keras")


class Rates(C.Callback):
    """Keeps the learning rate of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))


class Interrupt(C.Callback):
    """Ends a training in its third epoch, once."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def data(bad: bool) -> tuple[Any, Any]:
    rng = np.random.RandomState(1)
    x, y = rng.randn(40, 6).astype(np.float32), rng.randn(40, 1).astype(np.float32)
    if bad:
        x[33, 2] = np.nan
    return x, y


def train(root: Path, *watches: NanWatch, bad: bool = False) -> dict[str, Any]:
    """Returns what every callback of a full house did."""
    root.mkdir()
    model = mlp()
    keras.utils.set_random_seed(9)
    stop = C.EarlyStopping("loss", min_delta=0.5, patience=4, restore_best_weights=True)
    plateau = C.ReduceLROnPlateau("loss", min_delta=0.2, factor=0.5, patience=0)
    best = root / "best.weights.h5"
    rates = Rates()
    callbacks = [
        *watches,
        stop,
        plateau,
        rates,
        C.ModelCheckpoint(best, "loss", save_best_only=True, save_weights_only=True),
        C.TensorBoard(root / "logs", write_graph=True, histogram_freq=1),
        C.TerminateOnNaN(),
    ]
    x, y = data(bad)
    options = {"epochs": 9, "batch_size": 8, "verbose": 0, "shuffle": False}
    history = model.fit(x, y, callbacks=callbacks, **options)
    assert_clean(model)
    saved = mlp()
    saved.optimizer.build(saved.trainable_variables)
    if best.exists():
        saved.load_weights(best)
    return {
        "history": {k: np.array(v) for k, v in history.history.items()},
        "epochs": history.epoch,
        "stopped": stop.stopped_epoch,
        "rates": rates.rates,
        "saved": [best.exists(), *(np.array(w) for w in saved.get_weights())],
        "weights": weights(model),
    }


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        np.testing.assert_array_equal(one, other)


def scalars(client: Client) -> dict[str, Any]:
    """What the Scalars plugin serves: values by run and tag, without the times."""
    tags = client.get("/data/plugin/scalars/tags").get_json()
    return {
        f"{run}/{tag}": [
            point[1:]
            for point in client.get(
                "/data/plugin/scalars/scalars", query_string={"run": run, "tag": tag}
            ).get_json()
        ]
        for run, of_run in tags.items()
        for tag in of_run
    }


def served(logdir: Path) -> Client:
    app = application.TensorBoardWSGIApp(
        default_flags(logdir), [NanWatchLoader, *plugins()], make_provider(str(logdir))
    )
    return Client(app)


def plugins() -> list[Any]:
    from tensorboard import default

    return list(default.get_static_plugins())


@pytest.mark.parametrize("bad", [False, True], ids=["clean", "bad"])
def test_a_full_house(bad: bool, tmp_path: Path, tally: Tally) -> None:
    alone = train(tmp_path / "alone", bad=bad)
    together = tmp_path / "together"
    watches = [NanWatch(together / "logs"), NanWatch(together / "other")]
    beside = train(together, *watches, bad=bad)
    assert_equal(alone, beside)
    # Each of them did something to compare: the training ended before its time.
    assert beside["epochs"] != list(range(9))
    if bad:
        assert math.isnan(beside["history"]["loss"][-1])
    else:
        assert beside["stopped"] > 0 and beside["rates"][-1] < beside["rates"][0]
        assert beside["saved"][0]
    # Both instances of ours saw the same, and what they see alone.
    (tmp_path / "lonely").mkdir()
    model = mlp()
    keras.utils.set_random_seed(9)
    x, y = data(bad)
    options = {"batch_size": 8, "verbose": 0, "shuffle": False}
    lonely = NanWatch(tmp_path / "lonely" / "logs")
    model.fit(x, y, epochs=len(beside["epochs"]), callbacks=[lonely], **options)
    logs = [
        read_log(p)
        for p in (together / "logs", together / "other", tmp_path / "lonely/logs")
    ]
    for log in logs:
        assert log.status.status == ("diverged" if bad else "clean")
        assert log.session.train_probes == logs[2].session.train_probes
        assert log.status.stopped_by in ("EarlyStopping", "TerminateOnNaN", None)
        if bad:
            assert log.status.onset == logs[2].status.onset
            assert log.status.origin == logs[2].status.origin
    tally.add("trainings beside six other callbacks", 1)
    if not bad:
        assert_plugins(tmp_path)


def assert_plugins(root: Path) -> None:
    """Scalars and Graphs serve what they serve without us, from the same directory."""
    alone, together = served(root / "alone" / "logs"), served(root / "together" / "logs")
    values = scalars(together)
    assert values and values == scalars(alone)
    graphs = [
        c.get("/data/plugin/graphs/info").get_json()["train"]["tags"].keys()
        for c in (alone, together)
    ]
    assert graphs[0] == graphs[1] and graphs[0]
    graph = {"run": "train", "tag": next(iter(graphs[1])), "conceptual": "true"}
    answer = together.get("/data/plugin/graphs/graph", query_string=graph)
    assert answer.status_code == 200 and b"first" in answer.data
    listing = together.get("/data/plugins_listing").get_json()
    for plugin in ("scalars", "graphs", "histograms", "nanwatch"):
        assert listing[plugin]["enabled"], plugin


def test_backup_and_restore(tmp_path: Path, tally: Tally) -> None:
    """Interrupted and taken up again: the weights of the training that was not."""
    x, y = data(bad=False)
    options = {"epochs": 4, "batch_size": 8, "verbose": 0, "shuffle": False}

    def fit(name: str, *watches: Any) -> Any:
        for interrupted in (True, False):
            model = mlp()
            keras.utils.set_random_seed(9)
            backup = C.BackupAndRestore(tmp_path / name, delete_checkpoint=False)
            others = [Interrupt()] if interrupted else []
            try:
                model.fit(x, y, callbacks=[backup, *watches, *others], **options)
            except KeyboardInterrupt:
                assert interrupted
        return weights(model)

    assert_same(fit("alone"), fit("beside", NanWatch(tmp_path / "logs")))
    log = read_log(tmp_path / "logs")
    first, second = (log.of(s).status for s in log.sessions)
    assert (first.state, first.error_type, first.steps) == (
        "failed",
        "KeyboardInterrupt",
        10,
    )
    assert (second.state, second.steps, second.epochs) == ("finished", 10, 4)
    tally.add("trainings beside six other callbacks", 1)


def test_hparams_plugin_reads_the_same_values(tmp_path: Path) -> None:
    """Ours are found by it, and those of its own callback are left as they are."""
    from tensorboard.plugins.hparams import api as hp

    x, y = data(bad=False)
    given = {"rate": 0.25, "units": 8}
    for name, callbacks in (
        ("ours", [NanWatch(tmp_path / "logs/ours", hparams=given)]),
        (
            "theirs",
            [
                hp.KerasCallback(str(tmp_path / "logs/theirs"), given),
                NanWatch(tmp_path / "logs/theirs", hparams=given),
            ],
        ),
    ):
        model = mlp()
        model.fit(x, y, verbose=0, callbacks=callbacks)
        assert read_log(tmp_path / "logs" / name).status.state == "finished"
    client = served(tmp_path / "logs")
    asked = {
        "experimentName": "",
        "startIndex": 0,
        "sliceSize": 10,
        "colParams": [],
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"],
    }
    answer = client.post("/data/plugin/hparams/session_groups", json=asked)
    groups = json.loads(answer.data)["sessionGroups"]
    found = {s["name"]: g["hparams"] for g in groups for s in g["sessions"]}
    assert set(found) == {"ours", "theirs"}
    assert found["ours"] == found["theirs"] == {"rate": 0.25, "units": 8.0}
