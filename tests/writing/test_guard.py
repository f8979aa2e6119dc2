"""Whatever goes wrong in watching, the training is the one that Keras alone makes."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.writing import watched
from tb_nanwatch.writing.backends import parts
from tb_nanwatch.writing.backends.tensorflow import fits, instrument, looks, one_step
from tb_nanwatch.writing.backends.tensorflow.beside import Beside
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tensorflow.step import StepGraph
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step
from tb_nanwatch.writing.backends.tensorflow.tracing import Tracer
from tb_nanwatch.writing.backends.tensorflow.within import Within
from tb_nanwatch.writing.recording.recorder import Recorder
from tests.support.share import by_turns
from tests.writing.logs import read_log
from tests.writing.test_callback import assert_clean, assert_same, data, fit, weights

L = keras.layers
MODES: dict[str, dict[str, Any]] = {
    "graph": {},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
}


def lazy(**options: Any) -> Any:
    """A model with state, random numbers and a hook of every kind; its first batch builds it."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            L.Dense(8, activation="tanh", name="first"),
            L.BatchNormalization(name="norm"),
            L.Dropout(0.3, name="dropout"),
            L.Dense(1, name="last"),
        ],
        name="lazy",
    )
    model.compile(keras.optimizers.Adam(name="adam"), "mse", metrics=["mae"], **options)
    return model


class Subclassed(keras.Model):
    """Built at the first batch, by its own `call`."""

    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.hidden = [L.Dense(8), L.Dense(4)]
        self.out = L.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.hidden:
            x = keras.ops.relu(layer(x))
        return self.out(x)


def subclassed(**options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = Subclassed()
    model.compile(keras.optimizers.Adam(name="adam"), "mse", metrics=["mae"], **options)
    return model


def train(model: Any, *callbacks: Any, **options: Any) -> tuple[list[Any], list[str]]:
    """Returns all that a training leaves, and what NaN Watch warned of."""
    x, y = data()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        history = fit(
            model, *callbacks, validation_data=(x[:10], y[:10]), **options
        ).history
    found = [*weights(model), *(np.array(v) for v in history.values())]
    found.append(np.random.rand(2))  # noqa: NPY002
    found.append(keras.random.uniform((2,)).numpy())
    return found, [str(w.message) for w in said if w.category is NanWatchWarning]


@pytest.fixture(scope="module")
def plain() -> dict[str, list[Any]]:
    found = {}
    for mode, options in MODES.items():
        keras.backend.clear_session()
        found[mode] = train(lazy(**options))[0]
    return found


def test_a_share_of_the_hooks_is_in_every_mode() -> None:
    tried = by_turns(((o, n), modes) for o, n, modes in HOOKS)
    assert {mode for _, mode in tried} == set(MODES)
    assert {hook for hook, _ in tried} == {(owner, name) for owner, name, _ in HOOKS}


# --- An error in every place at which watching meets the training -----------------

# Where watching acts: the owner, its method, and the modes in which it is tried. What
# meets a tensor does so in the same way under XLA, where a training takes three times as
# long: one stands for all there. Each is tried in one of its modes, by turns; in all of
# them by `make thorough`.
ALL = ("xla", "graph", "eager")
TWO = ("graph", "eager")
HOOKS: list[tuple[Any, str, tuple[str, ...]]] = [
    (Tracer, "name_variables", TWO),
    (Tracer, "add_data", TWO),
    (Tracer, "add_outputs", ALL),
    (Tracer, "add_loss", TWO),
    (Tracer, "add_loss_values", TWO),
    (Tracer, "add_gradients", TWO),
    (Tracer, "add_logs", TWO),
    (Tracer, "add_variables", TWO),
    (Tracer, "finish", ALL),
    (StepGraph, "begin", ALL),
    (StepGraph, "gate", TWO),
    (Within, "record", ("eager",)),
    (Beside, "record_gated", ("graph",)),
    (Beside, "record_packed", ("graph", "xla")),
    (instrument, "pack", ("graph", "xla")),
    (instrument, "is_repeatable", ("graph", "xla")),
    (looks, "run_again", ("graph", "xla")),
    (Step, "learn", TWO),
    (Step, "add", TWO),
    (Capture, "begin", TWO),
    (Ring, "take", TWO),
    (Recorder, "rows", TWO),
    (fits.WatchedFit, "traced", ALL),
    (fits, "Held", ("graph", "xla")),
    (one_step, "after", TWO),
    (instrument, "is_built", ("graph", "xla")),
    (parts, "walk", TWO),
    (instrument.Instrument, "read", ALL),
    (instrument.Instrument, "_make_functions", ALL),
    (watched.Watched, "_after_read", TWO),
]


def failing(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("a fault of our own")


@pytest.mark.parametrize(
    ("owner", "name", "mode"),
    [
        (owner, name, mode)
        for (owner, name), mode in by_turns(((o, n), modes) for o, n, modes in HOOKS)
    ],
    ids=lambda value: getattr(value, "__name__", str(value)).split(".")[-1],
)
def test_an_error_in_a_hook_changes_nothing(
    owner: Any,
    name: str,
    mode: str,
    plain: dict[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met = []

    def planted(*args: Any, **kwargs: Any) -> Any:
        met.append(name)
        failing()

    monkeypatch.setattr(owner, name, planted)
    model = lazy(**MODES[mode])
    found, said = train(model, NanWatch(tmp_path))
    assert met
    assert_same(plain[mode], found)
    assert len(said) == 1 and "a fault of our own" in said[0]
    assert_clean(model)


@pytest.mark.parametrize("name", ["keep", "settle"])
def test_an_error_while_a_step_is_kept_changes_nothing(
    name: str,
    plain: dict[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Capture, name, failing)
    found, said = train(lazy(), NanWatch(tmp_path))
    assert_same(plain["graph"], found)
    assert not said


@pytest.mark.parametrize("mode", MODES)
def test_an_error_while_a_step_is_looked_at_changes_nothing(
    mode: str,
    plain: dict[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Recorder, "observe", failing)
    found, said = train(lazy(**MODES[mode]), NanWatch(tmp_path))
    assert_same(plain[mode], found)
    notes = read_log(tmp_path).session.notes if mode == "eager" else said
    assert sum("a fault of our own" in text for text in notes) >= 1
    assert len(said) == (mode != "eager")


@pytest.mark.parametrize(
    ("mode", "build"), by_turns((mode, (lazy, subclassed)) for mode in MODES)
)
def test_nothing_is_said_where_nothing_fails(
    build: Callable[..., Any], mode: str, tmp_path: Path
) -> None:
    expected, _ = train(build(**MODES[mode]))
    keras.backend.clear_session()
    found, said = train(build(**MODES[mode]), NanWatch(tmp_path))
    assert_same(expected, found)
    assert not said
    log = read_log(tmp_path)
    assert log.status.status == "clean" and log.status.steps == 10
    names = {(p.kind, p.name) for p in log.session.train_probes}
    first = "first" if build is lazy else "dense"
    assert {("activation", first), ("weight", f"{first}/kernel")} <= names
    assert not [name for _, name in names if "(call 2)" in name]


@pytest.mark.parametrize(
    ("mode", "options"),
    by_turns((mode, ({}, {"steps_per_execution": 3})) for mode in ("xla", "graph")),
)
def test_a_first_call_that_fails_is_made_again(
    mode: str, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the probes' compilation would fail, or the memory run out: after the update."""
    expected, _ = train(lazy(**MODES[mode], **options))
    keras.backend.clear_session()
    in_graph = (Within, "record") if options else (Beside, "record_gated")
    cls, name = in_graph if mode == "graph" else (Beside, "record_packed")
    record = getattr(cls, name)

    def planted(self: Any, step: Any, *args: Any) -> Any:
        recorded = record(self, step, *args)
        tf.debugging.assert_equal(step.number, np.int64(-1), "a fault of our own")
        return recorded

    monkeypatch.setattr(cls, name, planted)
    model = lazy(**MODES[mode], **options)
    found, said = train(model, NanWatch(tmp_path))
    assert_same(expected, found)
    assert len(said) == 1 and "a fault of our own" in said[0]
    assert_clean(model)


def test_what_xla_cannot_compile_of_ours_is_left_out(
    plain: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(self: Any) -> None:
        tf.numpy_function(lambda: np.float32(0), [], tf.float32)

    monkeypatch.setattr(Tracer, "finish", planted)
    found, said = train(lazy(**MODES["xla"]), NanWatch(tmp_path))
    assert_same(plain["xla"], found)
    assert len(said) == 1


# --- Errors of the user's own ------------------------------------------------------


class Uncompilable(L.Layer):
    """XLA cannot compile it."""

    def call(self, x: Any) -> Any:
        made = tf.numpy_function(np.tanh, [x], tf.float32)
        return x + tf.stop_gradient(tf.ensure_shape(made, x.shape))


class Failing(L.Layer):
    """Fails while it is traced."""

    def call(self, x: Any) -> Any:
        raise LookupError("the user's own")


class Mistyped(L.Layer):
    """Fails with what Keras takes for a wrong signature, and looks at that."""

    def call(self, x: Any) -> Any:
        return x * len(None)  # type: ignore[arg-type]


class Asserting(L.Layer):
    """Fails while it runs."""

    def call(self, x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, -100.0)]):
            return tf.identity(x)


@pytest.mark.parametrize(
    ("layer", "mode"),
    [
        (Uncompilable, "xla"),
        *((Failing, m) for m in MODES),
        *((Mistyped, m) for m in MODES),
        (Asserting, "graph"),
    ],
)
def test_an_error_of_the_users_is_theirs(layer: Any, mode: str, tmp_path: Path) -> None:
    def error(*callbacks: Any) -> BaseException:
        keras.backend.clear_session()
        model = keras.Sequential([L.Dense(2), layer(), L.Dense(1)])
        model.compile("sgd", "mse", **MODES[mode])
        with pytest.raises(Exception) as info, warnings.catch_warnings():
            warnings.simplefilter("error", NanWatchWarning)
            fit(model, *callbacks)
        return info.value

    expected, found = error(), error(NanWatch(tmp_path))
    assert type(found) is type(expected)
    assert str(found).split("\n")[0] == str(expected).split("\n")[0]
    assert type(found.__context__) is type(expected.__context__)
    assert read_log(tmp_path).status.state == "failed"


def test_what_is_hooked_keeps_its_name_and_signature(tmp_path: Path) -> None:
    model = Subclassed()
    model.compile("adam", "mse")
    owners = [model, *model.hidden, model.out, model.optimizer]
    names = ("call", "train_step", "test_step", "compute_loss", "apply")

    def told() -> list[Any]:
        methods = [getattr(owner, name, None) for owner in owners for name in names]
        return [m and (m.__name__, m.__doc__, str(inspect.signature(m))) for m in methods]

    class Looks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            assert "call" in model.out.__dict__
            seen.append(told())

    seen: list[Any] = []
    before = told()
    fit(model, NanWatch(tmp_path), Looks())
    assert seen and all(now == before for now in seen)


# --- A fit, or an evaluation, within a callback ------------------------------------


class At(keras.callbacks.Callback):
    """Does something to the model at the end of an epoch."""

    def __init__(self, epoch: int, do: Callable[[Any], Any]) -> None:
        super().__init__()
        self._epoch, self._do = epoch, do

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._epoch:
            self._do(self.model)


def spoil(model: Any) -> None:
    variable = model.trainable_variables[0]
    value = variable.numpy()
    value[0, 0] = np.nan
    variable.assign(value)


def test_a_watched_fit_within_a_callback(tmp_path: Path) -> None:
    x, y = data(16)

    def inner(model: Any) -> None:
        watch = NanWatch(tmp_path / "inner")
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[watch])

    def run(*more: Any) -> Any:
        return fit(lazy(), At(0, inner), At(1, spoil), *more, epochs=4)

    run(NanWatch(tmp_path / "outer"))
    outer, nested = read_log(tmp_path / "outer"), read_log(tmp_path / "inner")
    assert (outer.status.status, outer.status.steps) == ("diverged", 20)
    assert (outer.status.onset.epoch, outer.status.onset.batch) == (2, 0)
    assert (nested.status.status, nested.status.steps) == ("clean", 2)
    assert not outer.session.notes


def test_a_fit_that_dies_within_a_callback(tmp_path: Path) -> None:
    def inner(model: Any) -> None:
        with pytest.raises(LookupError):
            fit(model, At(0, failing_lookup), NanWatch(tmp_path / "inner"))

    def failing_lookup(model: Any) -> None:
        raise LookupError

    model = lazy()
    fit(model, At(0, inner), NanWatch(tmp_path / "outer"), epochs=3)
    assert read_log(tmp_path / "outer").status.steps == 15
    assert read_log(tmp_path / "inner").status.state == "failed"
    assert_clean(model)


def test_what_a_callback_trains_or_evaluates_is_kept_apart(tmp_path: Path) -> None:
    x, y = data(bad=30)

    def aside(model: Any) -> None:
        model.evaluate(x, y, batch_size=8, verbose=0)
        model.train_on_batch(x[:8], y[:8])

    expected, _ = train(lazy(), At(0, aside), epochs=3)
    keras.backend.clear_session()
    found, said = train(lazy(), At(0, aside), NanWatch(tmp_path), epochs=3)
    assert_same(expected, found)
    log = read_log(tmp_path)
    assert not said
    assert (log.status.status, log.status.steps) == ("clean", 15)
    assert sum("not watched" in note for note in log.session.notes) == 2


def test_validation_of_the_fit_is_none_of_a_callback(tmp_path: Path) -> None:
    x, y = data(bad=30)
    fit(
        lazy(),
        At(0, lambda model: model.evaluate(*data(), verbose=0)),
        NanWatch(tmp_path),
        validation_data=(x, y),
        validation_batch_size=8,
    )
    onset = read_log(tmp_path).status.onset
    assert (onset.phase, onset.epoch, onset.batch) == ("validation", 0, 3)
