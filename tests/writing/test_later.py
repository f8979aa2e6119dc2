"""On an accelerator nothing of a training step is read before many have run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.writing.backends.tensorflow import instrument, later
from tb_nanwatch.writing.backends.tensorflow.beside import Beside
from tb_nanwatch.writing.backends.tensorflow.later import LookBack
from tb_nanwatch.writing.backends.tensorflow.rewinding import Rewinding
from tests.writing.logs import read_log

BATCH, STEPS, AT = 8, 90, 71
# What has the host take part in a step, or wait for a number of it.
_OF_THE_HOST = ("PyFuncStateless", "EagerPyFunc", "If", "StatelessIf", "StatelessCase")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the host's memory taken for that of a device, however slow the machine is."""
    monkeypatch.setattr(instrument, "is_on_host", lambda model: False)
    # What is due by the clock is read by the clock.
    monkeypatch.setattr(instrument, "READ_INTERVAL_SECONDS", 1e9)


class Root(keras.layers.Layer):
    """The derivative alone of its output is not finite, where a row is of zeros."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        total = keras.ops.sum(x, 1, keepdims=True)
        return x + 1e-6 * keras.ops.sqrt(keras.ops.square(self.scale * total))


def compiled(jit: bool = False, bad_gradient: bool = False, loss: Any = "mse") -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12,))
    x = Root()(inputs) if bad_gradient else inputs
    x = keras.layers.Dense(16, activation="relu", name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.2, seed=1, name="drop")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(x))
    model.compile(
        keras.optimizers.Adam(0.01, name="adam"),
        loss,
        weighted_metrics=["mae"],
        jit_compile=jit,
    )
    return model


def data(place: str = "") -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(BATCH * STEPS, 12)).astype(np.float32)
    y = x[:, :1] + 0.5
    weights = np.ones(len(x), np.float32)
    if place:
        part = {"input": x, "label": y, "sample_weight": weights}[place]
        part[AT * BATCH + 2] = np.nan
    return x, y, weights


def fit(model: Any, given: Any, *callbacks: Any) -> list[Any]:
    x, y, weights = given
    history = model.fit(
        *(x, y, BATCH),
        epochs=1,
        sample_weight=weights,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    state = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    return [*state, *(np.array(v) for v in history.history.values())]


def same(one: list[Any], other: list[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


class Operations:
    """A loss that notes the function that it is traced in, that of the training's step."""

    __name__ = "squares"

    def __init__(self) -> None:
        self._graphs: list[Any] = []

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        if not tf.executing_eagerly():  # as a step is that is looked at
            graph = tf.compat.v1.get_default_graph()
            while isinstance(getattr(graph, "outer_graph", None), type(graph)):
                graph = graph.outer_graph
            self._graphs.append(graph)
        return keras.ops.square(y_true - y_pred)

    @property
    def of_the_host(self) -> int:
        """Operations that have the host take part in a step, or wait for a number of it."""
        types: list[str] = []
        for graph in self._graphs:
            definition = graph.as_graph_def()
            for nodes in (
                definition.node,
                *(f.node_def for f in definition.library.function),
            ):
                types += [node.op for node in nodes]
        assert "Square" in types
        return sum(types.count(name) for name in _OF_THE_HOST)


@pytest.mark.parametrize("jit", [False, True])
def test_a_healthy_step_has_the_host_wait_for_nothing(
    jit: bool, elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, on_device, now = Operations(), Operations(), Operations()
    expected = fit(compiled(jit, loss=plain), data())
    watch = NanWatch(tmp_path / "later")
    same(expected, fit(compiled(jit, loss=on_device), data(), watch))
    watch = NanWatch(tmp_path / "now", on_nonfinite="stop")
    same(expected, fit(compiled(jit, loss=now), data(), watch))
    assert on_device.of_the_host == plain.of_the_host
    # Where a bad step is to end the training, each is asked for: the count does see it.
    assert now.of_the_host > plain.of_the_host
    log = read_log(tmp_path / "later")
    assert log.status.status == "clean" and log.status.steps == STEPS
    assert not log.session.notes


@pytest.mark.parametrize(
    ("place", "jit"), [("input", False), ("label", True), ("sample_weight", False)]
)
def test_what_is_read_later_is_as_exact(
    place: str, jit: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(instrument, "READ_INTERVAL_SECONDS", 1e9)
    found, states = [], []
    for device in (False, True):
        monkeypatch.setattr(instrument, "is_on_host", lambda model, at=device: not at)
        directory = tmp_path / str(device)
        states.append(fit(compiled(jit), data(place), NanWatch(directory, experiments=0)))
        log = read_log(directory)
        episode = log.episodes[0]
        result = log.all("postmortem")[-1].result
        found.append(
            (
                *(episode.start, log.status.onset, log.status.origin, log.status.steps),
                sorted(episode.tensors, key=lambda t: (t.kind, t.name)),
                *(result.reproduced, result.data, result.rows),
            )
        )
        assert not any("looked at" in note for note in log.session.notes)
    assert found[0][0].step == AT and found[1][-3:] == found[0][-3:]
    assert found[0] == found[1]
    same(*states)


def test_a_gradient_that_is_bad_alone(elsewhere: None, tmp_path: Path) -> None:
    x, y, weights = data()
    x[AT * BATCH + 2] = 0.0
    fit(compiled(bad_gradient=True), (x, y, weights), NanWatch(tmp_path, experiments=0))
    log = read_log(tmp_path)
    assert log.status.onset.step == AT and log.status.origin.kind == "gradient"


def test_where_no_state_can_be_held_steps_are_asked_as_they_run(
    elsewhere: None, tmp_path: Path
) -> None:
    operations = Operations()
    fit(compiled(loss=operations), data("label"), NanWatch(tmp_path, rewind_bytes=2_000))
    assert operations.of_the_host
    assert read_log(tmp_path).status.onset.step == AT


def test_a_step_that_comes_out_otherwise_is_told_by_its_sums_alone(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a device whose operations are not deterministic."""
    arrays_of = later.arrays_of
    monkeypatch.setattr(
        later,
        "arrays_of",
        lambda batch: keras.tree.map_structure(np.nan_to_num, arrays_of(batch)),
    )
    fit(compiled(), data("label"), NanWatch(tmp_path, experiments=0))
    log = read_log(tmp_path)
    assert log.status.status == "diverged" and log.status.onset.step == AT
    assert any("came out otherwise" in note for note in log.session.notes)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (LookBack, "check"),
        (LookBack, "_run_up_to"),
        (Rewinding, "has_room"),
        (Rewinding, "stretch"),
        (Beside, "record_later"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_error_in_watching_changes_nothing(
    owner: Any,
    name: str,
    elsewhere: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a fault of our own")

    expected = fit(compiled(), data("label"))
    monkeypatch.setattr(owner, name, failing)
    with pytest.warns(NanWatchWarning, match="a fault of our own"):
        found = fit(compiled(), data("label"), NanWatch(tmp_path))
    same(expected, found)
