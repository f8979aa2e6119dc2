"""One fault in one step: exactly that step and that tensor, and silence without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.backends.models import (
    BATCH,
    MODELS,
    STEPS,
    BadGradient,
    BadOutput,
    RateAt,
    compiled,
    data_of,
    fit,
    state,
)
from tests.support.share import by_turns
from tests.writing.logs import read_log

# What would have kept a training finite is tested in test_experiments: here it is not tried.
# On TensorFlow tests/writing has a campaign of its own, with every kind of fault in many models.
KINDS = ["dense"] if keras.backend.backend() == "tensorflow" else list(MODELS)


class Fault(NamedTuple):
    """What is put in, and what has to be named.

    Attributes:
        kind: of the first bad tensor.
        layer: part of its name.
        persists: whether weights or slots are bad from that step on.
    """

    kind: str
    layer: str
    persists: bool


FAULTS = {
    "input": Fault("input", "input", True),
    "label": Fault("label", "label", True),
    "sample_weight": Fault("sample_weight", "sample_weight", True),
    "activation": Fault("activation", "fault", True),
    "gradient": Fault("gradient", "", True),
    "slot": Fault("optimizer", "velocity", True),
    "weight": Fault("weight", "", True),
    "metric": Fault("metric", "log_of_labels", False),
}
_NAMES = list(FAULTS)
# Every fault, in the models by turns; thoroughly, in each model.
CASES = [
    (kind, name, 1 + (3 * KINDS.index(kind) + 5 * _NAMES.index(name)) % (STEPS - 2))
    for name, kind in by_turns([(name, KINDS) for name in _NAMES])
]


def a_training(kind: str, name: str, at: int) -> tuple[Any, Any]:
    """Returns a model and its data, with the fault at a step in the one or the other."""
    layers = {"activation": BadOutput, "gradient": BadGradient}
    fault = layers[name](at, name="fault") if name in layers else None
    # Of a plain update only the weight itself can tell that the rate was infinite.
    optimizer = keras.optimizers.SGD(RateAt(at)) if name == "weight" else "adam"
    model = compiled(kind, fault, optimizer)
    x, y, weights = data_of(model)
    row = at * BATCH + 5
    if name == "input":
        x[row].flat[2] = np.nan
    elif name == "label":
        y[row] = -np.inf
    elif name == "sample_weight":
        weights[row] = np.nan
    elif name == "metric":
        y[row] = -3.0
    elif name == "slot":
        # Squared it is beyond float32, and all else is not.
        weights[at * BATCH : (at + 1) * BATCH] = 1e25
    return model, (x, y, weights)


class Oracle(keras.callbacks.Callback):
    """Looks at weights and slots after each step, on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.bad_from: int | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        bad = not all(np.isfinite(v).all() for v in state(self.model))
        if bad and self.bad_from is None:
            self.bad_from = batch


@pytest.mark.parametrize(("kind", "name", "at"), CASES)
def test_step_and_tensor_are_exact(kind: str, name: str, at: int, tmp_path: Path) -> None:
    fault = FAULTS[name]
    oracle = Oracle()
    model, data = a_training(kind, name, at)
    fit(model, data, oracle)
    assert oracle.bad_from == (at if fault.persists else None), "the fault itself"
    plain = state(model)

    model, data = a_training(kind, name, at)
    fit(model, data, NanWatch(tmp_path, experiments=0))
    for a, b in zip(plain, state(model), strict=True):
        np.testing.assert_array_equal(a, b)
    log = read_log(tmp_path)
    first = log.episodes[0]
    assert (first.start.phase, first.start.step) == ("train", at)
    origin = first.tensors[0]
    assert origin.kind == fault.kind and fault.layer in origin.name, first.tensors
    # Gradients come backwards: those of the layers behind the fault are finite.
    bad = {t.name for t in first.tensors if t.kind == "gradient"}
    assert name != "gradient" or not any("last" in n or "second" in n for n in bad)
    assert origin.num_nan + origin.num_pos_inf + origin.num_neg_inf > 0
    if name in ("input", "label", "sample_weight", "activation"):
        bad = (origin.num_nan, origin.num_pos_inf + origin.num_neg_inf)
        assert bad == ((1, 0) if name in ("input", "sample_weight") else (0, 1))
    if fault.persists:
        assert log.status.status == "diverged"
        assert log.status.onset is not None and log.status.onset.step == at


@pytest.mark.parametrize("kind", KINDS)
def test_silent_and_identical_where_nothing_is_wrong(kind: str, tmp_path: Path) -> None:
    trained = []
    for watched in (False, True):
        model = compiled(kind)
        data = data_of(model)
        callbacks = [NanWatch(tmp_path)] if watched else []
        history = fit(model, data, *callbacks, epochs=2, validation_data=data)
        trained.append((state(model), history.history, np.random.get_state()[1]))  # noqa: NPY002
    (plain, plain_history, drawn), (seen, history, drawn_too) = trained
    assert history == plain_history
    for a, b in zip(plain, seen, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(drawn, drawn_too)
    log = read_log(tmp_path)
    assert log.status.status == "clean" and not log.episodes
    assert log.status.steps == 2 * STEPS
    # Nothing of it is left in the model.
    assert not list(hooks_in(model))


def hooks_in(model: Any) -> Iterator[str]:
    from tb_nanwatch.writing.backends.names import walk

    for _, layer in [*walk(model, calls=True), ("", model.optimizer)]:
        yield from (n for n in vars(layer) if hasattr(vars(layer)[n], "nanwatch_hook"))


def test_a_fault_in_validation_is_told_as_one(tmp_path: Path) -> None:
    model = compiled("dense")
    x, y, weights = data_of(model)
    bad = x.copy()
    bad[3 * BATCH + 1, 0] = np.inf
    watch = NanWatch(tmp_path, experiments=0)
    fit(model, (x, y, weights), watch, validation_data=(bad, y, weights))
    log = read_log(tmp_path)
    first = log.episodes[0]
    assert (first.start.phase, first.start.batch) == ("validation", 3)
    assert first.tensors[0].kind == "input"
    assert log.status.status != "diverged"


def test_growing_until_it_overflows(tmp_path: Path) -> None:
    model = compiled("dense", optimizer=keras.optimizers.SGD(1e6))
    oracle = Oracle()
    data = data_of(model)
    fit(model, data, oracle)
    model = compiled("dense", optimizer=keras.optimizers.SGD(1e6))
    fit(model, data, NanWatch(tmp_path, experiments=0))
    log = read_log(tmp_path)
    assert log.status.status == "diverged" and log.status.onset is not None
    assert log.status.onset.step == oracle.bad_from
