"""NanWatch beside real trainings: what it changes, leaves behind and says."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch, NanWatchWarning, NonFiniteError
from tests.writing.faults import two_replicas
from tests.writing.logs import Log, read_log

L = keras.layers
ROOT = Path(__file__).parents[2]


def data(n: int = 40, bad: int | None = None) -> tuple[Any, Any]:
    """Returns inputs and labels; `bad` is the row of a NaN among the inputs."""
    rng = np.random.RandomState(1)
    x, y = rng.randn(n, 6).astype(np.float32), rng.randn(n, 1).astype(np.float32)
    if bad is not None:
        x[bad, 2] = np.nan
    return x, y


def mlp(**options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation="tanh", name="first"),  # TensorFlow's relu may drop NaN
            L.Dropout(0.3, name="dropout"),
            L.Dense(1, name="last"),
        ],
        name="mlp",
    )
    adam = keras.optimizers.Adam(name="adam")
    model.compile(adam, "mse", metrics=["mae"], **options)
    return model


def conv(**options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Reshape((3, 2, 1)),
            L.Conv2D(3, 2),
            L.BatchNormalization(),
            L.ReLU(),
            L.Flatten(),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse", **options)
    return model


def fit(model: Any, *callbacks: Any, bad: int | None = None, **options: Any) -> Any:
    x, y = data(bad=bad)
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "shuffle": False} | options
    return model.fit(x, y, callbacks=list(callbacks), **options)


def weights(model: Any) -> list[Any]:
    return [np.array(w) for w in (*model.get_weights(), *_slots(model))]


def _slots(model: Any) -> list[Any]:
    return [v.numpy() for v in model.optimizer.variables]


def assert_same(a: list[Any], b: list[Any]) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_clean(model: Any) -> None:
    """Nothing of NaN Watch is left in the model, and it can be used for all things."""
    for owner in (model, model.optimizer, *model._flatten_layers()):
        left = [n for n, v in vars(owner).items() if hasattr(v, "nanwatch_hook")]
        assert not left, (owner, left)
    assert "watched" not in getattr(model.train_function, "__name__", "")
    assert "watched" not in getattr(model.test_function, "__name__", "")


def assert_usable(model: Any, path: Path) -> None:
    assert_clean(model)
    x, _ = data()
    fit(model, epochs=1)
    model.save(path / "model.keras")
    loaded = keras.models.load_model(path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    keras.models.clone_model(model)


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], Log]:
    return lambda: read_log(tmp_path / "log")


# --- The training is not changed --------------------------------------------------


@pytest.mark.parametrize("build", [mlp, conv])
@pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["plain", "jit"])
def test_weights_are_bit_identical(build: Any, options: Any, tmp_path: Path) -> None:
    plain = build(**options)
    keras.utils.set_random_seed(9)
    history = fit(plain, validation_split=0.2)
    watched = build(**options)
    keras.utils.set_random_seed(9)
    seen = fit(watched, NanWatch(tmp_path), validation_split=0.2)
    if build is conv and options:
        # XLA fuses a step that hands its tensors out in another way: the last bit of
        # a sum may differ, and nothing more.
        for one, other in zip(weights(plain), weights(watched), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    else:
        assert_same(weights(plain), weights(watched))
    if not options:
        assert history.history == seen.history
    assert_clean(watched)


def test_weights_are_bit_identical_on_two_replicas(tmp_path: Path) -> None:
    found = []
    for callbacks in ([], [NanWatch(tmp_path)]):
        with two_replicas().scope():
            model = mlp()
        keras.utils.set_random_seed(9)
        fit(model, *callbacks)
        found.append(weights(model))
    assert_same(*found)


def test_bad_weights_are_bit_identical_too(tmp_path: Path) -> None:
    plain, watched = mlp(), mlp()
    for model, callbacks in ((plain, []), (watched, [NanWatch(tmp_path)])):
        keras.utils.set_random_seed(9)
        fit(model, *callbacks, bad=12)
    assert_same(weights(plain), weights(watched))
    assert read_log(tmp_path).status.status == "diverged"


# --- What is left behind ----------------------------------------------------------


class Raising(keras.callbacks.Callback):
    """Raises in one hook, once."""

    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__()
        self._error: BaseException | None = error
        setattr(self, hook, self._raise)

    def _raise(self, *args: Any, **kwargs: Any) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def test_after_a_normal_end(tmp_path: Path, log: Any) -> None:
    model = mlp()
    fit(model, NanWatch(tmp_path / "log"))
    assert_usable(model, tmp_path)
    assert log().status.state == "finished" and log().status.status == "clean"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("on_train_batch_end", ValueError("mine")),
        ("on_epoch_begin", ValueError("mine")),
        ("on_epoch_end", KeyboardInterrupt()),
        ("on_train_batch_begin", KeyboardInterrupt()),
        ("on_test_batch_end", ValueError("mine")),
    ],
)
def test_after_an_exception_in_another_callback(
    hook: str, error: BaseException, first: bool, tmp_path: Path, log: Any
) -> None:
    model, watch = mlp(), NanWatch(tmp_path / "log")
    raising = Raising(hook, error)
    callbacks = [raising, watch] if first else [watch, raising]
    with pytest.raises(type(error)):
        fit(model, *callbacks, validation_split=0.2)
    assert_usable(model, tmp_path)
    status = log().status
    assert (status.state, status.error_type) == ("failed", type(error).__name__)
    assert status.status == "clean"  # an error is no NaN


class Exploding(keras.layers.Layer):
    """Fails inside the compiled step where an input is 99."""

    def call(self, x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 99.0, "exploded")]):
            return tf.identity(x)


def test_after_an_exception_in_the_step(tmp_path: Path, log: Any) -> None:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6,)), Exploding(), L.Dense(1)])
    model.compile("adam", "mse")
    x, y = data()
    broken = x.copy()
    broken[20, 0] = 99.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="exploded"):
        model.fit(
            broken,
            y,
            batch_size=8,
            shuffle=False,
            verbose=0,
            callbacks=[NanWatch(tmp_path / "log")],
        )
    assert_clean(model)
    model.fit(x, y, verbose=0)
    status = log().status
    assert (status.state, status.error_type) == ("failed", "InvalidArgumentError")
    assert status.steps in (2, 3) and status.status == "clean"


class ForgetfulModel(keras.Sequential):
    """Dies where no callback is told of it."""

    def reset_metrics(self) -> None:
        if getattr(self, "dies", False):
            raise RuntimeError("between two epochs")
        super().reset_metrics()


class Dying(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        object.__setattr__(self.model, "dies", True)


def test_after_a_fit_that_died_unseen(tmp_path: Path, log: Any) -> None:
    model = ForgetfulModel([keras.Input((6,)), L.Dense(1)])
    model.compile("adam", "mse")

    def die() -> None:
        with pytest.raises(RuntimeError, match="between"):
            fit(model, NanWatch(tmp_path / "log"), Dying())

    die()
    object.__setattr__(model, "dies", False)
    gc.collect()
    assert_clean(model)
    assert log().status.state == "failed"
    fit(model)


# --- Fit again --------------------------------------------------------------------


def test_fit_twice_is_two_sessions(tmp_path: Path, log: Any) -> None:
    model, watch = mlp(), NanWatch(tmp_path / "log")
    fit(model, watch)
    fit(model, watch, epochs=5, initial_epoch=2, bad=13)
    assert_usable(model, tmp_path)
    first, second = (log().of(s) for s in log().sessions)
    assert first.status.status == "clean" and first.status.steps == 10
    assert second.status.status == "diverged" and second.status.steps == 15
    onset = second.status.onset
    assert onset is not None
    assert (onset.step, onset.epoch, onset.batch) == (1, 2, 1)
    assert second.status.epochs == 5


def test_two_in_one_fit_do_what_each_does_alone(tmp_path: Path) -> None:
    plain, model = mlp(), mlp()
    for m, callbacks in (
        (plain, []),
        (model, [NanWatch(tmp_path / "a"), NanWatch(tmp_path / "b")]),
    ):
        keras.utils.set_random_seed(9)
        fit(m, *callbacks, bad=13)
    assert_same(weights(plain), weights(model))
    assert_clean(model)
    alone = mlp()
    keras.utils.set_random_seed(9)
    fit(alone, NanWatch(tmp_path / "alone"), bad=13)
    logs = [read_log(tmp_path / name) for name in ("a", "b", "alone")]
    for log in logs[:2]:
        assert log.episodes == logs[2].episodes
        assert log.session.train_probes == logs[2].session.train_probes
        assert log.status.origin == logs[2].status.origin


def test_checkpoints_load(tmp_path: Path) -> None:
    model = mlp()
    path = tmp_path / "best.keras"
    fit(
        model,
        NanWatch(tmp_path / "log"),
        keras.callbacks.ModelCheckpoint(path),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5", save_weights_only=True
        ),
    )
    assert_same(keras.models.load_model(path).get_weights(), model.get_weights())
    other = mlp()
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "best.weights.h5")
    assert_same(other.get_weights(), model.get_weights())


# --- Beside other callbacks ---------------------------------------------------------


def test_early_stopping_is_named(tmp_path: Path, log: Any) -> None:
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    fit(mlp(), NanWatch(tmp_path / "log"), stop, epochs=9)
    assert (log().status.state, log().status.stopped_by) == ("stopped", "EarlyStopping")
    assert log().status.status == "clean"


def test_terminate_on_nan_is_named(tmp_path: Path, log: Any) -> None:
    fit(mlp(), NanWatch(tmp_path / "log"), keras.callbacks.TerminateOnNaN(), bad=3)
    assert (log().status.state, log().status.stopped_by) == ("stopped", "TerminateOnNaN")


def test_callbacks_that_do_nothing_stop_nothing(tmp_path: Path, log: Any) -> None:
    fit(
        mlp(),
        keras.callbacks.EarlyStopping("loss", patience=50),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.ReduceLROnPlateau("loss", patience=0),
        keras.callbacks.TensorBoard(tmp_path / "log", write_graph=False),
        NanWatch(tmp_path / "log"),
    )
    assert (log().status.state, log().status.stopped_by) == ("finished", None)
    assert (tmp_path / "log" / "train").is_dir()


# --- on_nonfinite -----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["record", "stop", "fail", "raise"])
def test_every_mode_says_one_line_when_nothing_is_bad(
    mode: Any, tmp_path: Path, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    history = fit(mlp(), NanWatch(tmp_path / "log", on_nonfinite=mode))
    assert len(history.history["loss"]) == 2
    assert log().status.state == "finished" and log().status.stopped_by is None
    out, err = capsys.readouterr()
    tensors = len(log().session.train_probes)
    assert out == f"NaN Watch: All finite: 10 steps, {tensors} tensors.\n"
    assert err == ""


def test_record_goes_on_and_says_it_at_once_and_at_the_end(
    tmp_path: Path, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    history = fit(mlp(), NanWatch(tmp_path / "log"), bad=13)
    assert len(history.history["loss"]) == 2
    assert log().status.steps == 10 and log().status.steps_after_onset == 8
    out, err = capsys.readouterr()
    assert err == ""
    at_once, at_the_end = out.strip().split("\n\n")
    assert " ".join(at_once.split()) == (
        "NaN Watch: NaN or Inf at epoch 1, batch 2 (input). Likely: NaN or Inf in the "
        'data. Training goes on; on_nonfinite="stop" would end it here.'
    )
    assert at_once.splitlines()[-1].startswith("  Training goes on; ")
    assert max(map(len, at_once.splitlines())) <= 80
    lines = at_the_end.splitlines()
    assert lines[0].startswith(
        "NaN Watch: log diverged at epoch 1, batch 2. 8 more steps"
    )
    titles = [line.split()[0] for line in lines if line[:9].strip()]
    assert titles == ["NaN", 'on_nonfinite="stop"', "Why", "Fix", "Where", "See"]
    assert f"  See    tb-nanwatch report {tmp_path / 'log'}" in lines
    assert "input itself has 1 NaN" in at_the_end.replace("Input", "input")


def test_stop_stops(tmp_path: Path, log: Any) -> None:
    history = fit(mlp(), NanWatch(tmp_path / "log", on_nonfinite="stop"), bad=13)
    assert len(history.history["loss"]) == 1
    assert (log().status.state, log().status.stopped_by) == ("stopped", "NanWatch")
    assert log().status.onset.step == 1


@pytest.mark.parametrize("mode", ["raise", "fail"])
def test_raise_raises(mode: Any, tmp_path: Path, log: Any) -> None:
    model = mlp()
    with pytest.raises(NonFiniteError, match=r"batch 2 \(step 1\): input, 1 NaN") as e:
        fit(model, NanWatch(tmp_path / "log", on_nonfinite=mode), bad=13)
    assert e.value.step == 1
    assert_usable(model, tmp_path)
    status = log().status
    assert (status.state, status.error_type) == ("failed", "NonFiniteError")
    assert status.status == "diverged" and status.steps == 2


def relative_error(y: Any, p: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y - p) / keras.ops.abs(y))


def test_the_exception_names_the_line_where_one_is_found(tmp_path: Path) -> None:
    x, y = data()
    y[9] = 0.0
    line = relative_error.__code__.co_firstlineno + 1
    for capsules in (1, 0):
        model = mlp()
        model.compile("sgd", relative_error)
        path = tmp_path / str(capsules)
        watch = NanWatch(path, on_nonfinite="raise", capsules=capsules)
        with pytest.raises(NonFiniteError) as e:
            model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
        said = str(e.value)
        assert "went bad at epoch 1, batch 2 (step 1): loss" in said
        made = (
            f"test_callback.py:{line}: 1 of 8 denominators is 0. Cause: loss domain (te"
        )
        # Without the step, which alone tells, no line is made up.
        assert (made in said) == ("It comes from" in said) == bool(capsules), said


def test_contained_values_stop_nothing(tmp_path: Path, log: Any) -> None:
    class Masked(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + np.float32(-np.inf) * tf.cast(tf.zeros_like(x) > -1, x.dtype)

    inputs = keras.Input((6,))
    masked = keras.layers.Softmax()(
        keras.layers.Concatenate()([inputs, Masked(name="mask")(inputs)])
    )
    model = keras.Model(inputs, L.Dense(1)(masked))
    model.compile("sgd", "mse")
    fit(model, NanWatch(tmp_path / "log", on_nonfinite="raise"))
    status = log().status
    assert (status.state, status.status) == ("finished", "contained")
    assert status.origin is not None and status.origin.name == "mask"
    assert status.onset is not None and status.onset.step == 0


def test_validation_alone_is_called_by_its_name(tmp_path: Path, log: Any) -> None:
    fit(mlp(), NanWatch(tmp_path / "log"), validation_data=data(bad=20)[:2])
    status = log().status
    assert status.status == "score_lost" and status.origin.kind == "input"
    onset = status.onset
    assert (onset.phase, onset.step, onset.epoch, onset.batch) == ("validation", 5, 0, 2)


# --- Arguments and surroundings -----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"log_dir": 3}, TypeError, "log_dir must be a path; received 3"),
        ({"log_dir": "x", "hparams": [1]}, TypeError, "hparams must be a mapping"),
        (
            {"log_dir": "x", "on_nonfinite": "explode"},
            ValueError,
            "'record', 'stop', 'fail', 'raise'; received 'explode'",
        ),
    ],
)
def test_bad_arguments(arguments: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        NanWatch(**arguments)


def test_a_place_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file stands here")
    plain, watched = mlp(), mlp()
    keras.utils.set_random_seed(9)
    fit(plain)
    keras.utils.set_random_seed(9)
    with pytest.warns(NanWatchWarning, match="cannot write") as caught:
        fit(watched, NanWatch(tmp_path / "log"))
    assert len([w for w in caught if w.category is NanWatchWarning]) == 1
    assert_same(weights(plain), weights(watched))
    assert_clean(watched)


def test_another_backend_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tb_nanwatch.errors._TOLD", set())
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    model = mlp()
    with pytest.warns(NanWatchWarning, match="the backend here is 'openvino'") as caught:
        fit(model, NanWatch(tmp_path / "log"))
    assert len([w for w in caught if w.category is NanWatchWarning]) == 1
    assert_clean(model)


def test_hparams_are_logged(tmp_path: Path, log: Any) -> None:
    from tensorboard.plugins.hparams import metadata

    given = {"lr": 1e-3, "units": 8, "relu": True, "name": "a"}
    fit(mlp(), NanWatch(tmp_path / "log", hparams=given))
    assert {h.name: h.value for h in log().status.hparams} == given
    content = log().others[metadata.SESSION_START_INFO_TAG]
    start = metadata.parse_session_start_info_plugin_data(content)
    values = {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()}
    assert values == given
    assert metadata.SESSION_END_INFO_TAG in log().others


def test_no_hparams_no_hparams_records(tmp_path: Path, log: Any) -> None:
    fit(mlp(), NanWatch(tmp_path / "log"))
    assert not log().others and log().status.hparams == []


def test_activations_only_watches_no_gradients(tmp_path: Path, log: Any) -> None:
    fit(mlp(), NanWatch(tmp_path / "log", activations_only=True))
    kinds = {p.kind for p in log().session.train_probes}
    assert kinds == {"input", "label", "activation", "prediction", "loss", "metric"}


def test_every_kind_is_watched_by_default(tmp_path: Path, log: Any) -> None:
    fit(conv(), NanWatch(tmp_path / "log"), validation_split=0.2)
    kinds = {p.kind for p in log().session.train_probes}
    assert kinds >= {"gradient", "optimizer", "weight", "layer_state"}
    names = [p.name for p in log().session.train_probes if p.kind == "weight"]
    assert "conv2d/kernel" in names and "batch_normalization/gamma" in names
    assert {p.kind for p in log().session.validation_probes} >= {"input", "loss"}


def test_fit_works_without_keras_tuner(tmp_path: Path) -> None:
    code = """
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("keras_tuner", "kerastuner"):
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Blocker())
        import keras, numpy as np
        from tb_nanwatch import NanWatch

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.ones((8, 2), "float32")
        model.fit(x, x[:, :1], verbose=0, callbacks=[NanWatch(sys.argv[1])])
        assert not any(m.startswith("keras_tuner") for m in sys.modules)
    """
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::UserWarning",
            "-c",
            textwrap.dedent(code),
            tmp_path,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read_log(tmp_path).status.state == "finished"


def test_nothing_warns_of_a_plain_training(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        fit(mlp(), NanWatch(tmp_path), epochs=1)


# --- Who takes the blame ------------------------------------------------------------


class PoisonedGradient(keras.layers.Layer):
    """Passes values on, and NaN back."""

    def call(self, x: Any) -> Any:
        @tf.custom_gradient
        def poisoned(x: Any) -> Any:
            return tf.identity(x), lambda upstream: upstream * np.float32(np.nan)

        return poisoned(x)


def test_gradients_are_blamed_in_backward_order(tmp_path: Path, log: Any) -> None:
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(4, name="first"),
            L.Dense(3, name="second"),
            PoisonedGradient(),
            L.Dense(1, name="third"),
        ]
    )
    model.compile("sgd", "mse")
    fit(model, NanWatch(tmp_path / "log"), epochs=1)
    bad = [t.name for t in log().episodes[0].tensors if t.kind == "gradient"]
    assert bad[:2] == ["second/bias", "second/kernel"]
    assert bad[2:] == ["first/bias", "first/kernel"]
    origin = log().status.origin
    assert (origin.kind, origin.name) == ("gradient", "second/bias")
    assert origin.num_nan == 3 and log().status.onset.step == 0


@pytest.mark.parametrize("bad", [True, False])
def test_an_operation_in_the_graph_is_blamed(bad: bool, tmp_path: Path, log: Any) -> None:
    inputs = keras.Input((6,))
    x = inputs if bad else keras.ops.abs(inputs)
    rooted = keras.ops.sqrt(x)
    model = keras.Model(inputs, L.Dense(1, name="last")(L.Dense(3, name="next")(rooted)))
    model.compile("sgd", "mse")
    fit(model, NanWatch(tmp_path / "log"), epochs=1)
    status = log().status
    if not bad:
        assert status.status == "clean" and status.origin is None
        return
    assert (status.origin.kind, status.origin.name) == ("activation", "sqrt")
    assert status.origin.num_nan == int((data()[0][:8] < 0).sum())


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_warnings_that_are_errors_end_no_watching(tmp_path: Path, dtype: str) -> None:
    # NumPy warns where TensorFlow makes an array of an eager bfloat16 tensor.
    layer = keras.layers.Dense(1, dtype=dtype)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("adam", "mse", run_eagerly=True)
    x = np.ones((32, 3), np.float32)
    x[-1] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, x[:, :1], batch_size=8, verbose=0, callbacks=[NanWatch(tmp_path)])
    status = read_log(tmp_path).status
    assert (status.status, status.steps) == ("diverged", 4)
