"""Each private name taken away in turn: one warning, one feature less, the same training."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.compat import keras as _keras
from tb_nanwatch.compat import kerastuner, names, versions
from tb_nanwatch.compat import tensorboard as _tensorboard
from tb_nanwatch.compat import tensorflow as _tensorflow
from tb_nanwatch.compat.names import Feature
from tb_nanwatch.reading.cli import main
from tests.compat.hiding import hide
from tests.tuner.searches import make, search, with_rates
from tests.writing.logs import read_log

ROOT = Path(__file__).parents[2]
# Their names are known once they have been imported.
ROOMS = (_keras, kerastuner, _tensorboard, _tensorflow)
NAMES = names.known()
# They write or read elsewhere than a plain training does.
ELSEWHERE = {
    Feature.EXECUTIONS,
    Feature.ENDED_SEARCHES,
    Feature.SHARED_SEARCH,
    Feature.MODELS_BUILT,
    Feature.HPARAMS_READ,
    Feature.REMOTE_LOGS,
    Feature.LOGS,
    # Of a training on JAX.
    Feature.LAYERS_ON_JAX,
    Feature.IMPLIED_ON_JAX,
    Feature.EXPERIMENTS_ON_JAX,
    Feature.NNX,
}
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def each_test_hears_all() -> Iterator[None]:
    names._OFF.clear()
    yield
    names._OFF.clear()


def of(*features: Feature) -> Any:
    """Returns a parametrization over the names of these features."""
    found = [n for n in NAMES if n.feature in features]
    assert {n.feature for n in found} == set(features)
    return pytest.mark.parametrize("name", found, ids=[n.text for n in found])


@keras.saving.register_keras_serializable("tests.compat")
class Inverse(keras.layers.Layer):
    """A layer with a layer in it, and a division."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = keras.layers.Dense(2, name="inner")

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return self.inner(1.0 / x)


class Model(keras.Model):
    """A model whose step applies gradients to what its optimizer was built for."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        variables = self.trainable_variables
        if not self.optimizer.built:
            with tf.init_scope():
                self.optimizer.build(variables)
        self.optimizer.apply(tape.gradient(loss, variables))
        return {"loss": loss}


BATCHES = 2


def batches() -> Any:
    """Two epochs; the last batch of the second has a zero in it, which is divided by."""
    rng = np.random.RandomState(1)
    x = rng.uniform(1, 2, (8 * BATCHES, 3)).astype(np.float32)
    x[-1, 0] = 0.0
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)


class Outcome:
    """All that a training has changed, and what was warned of."""

    def __init__(self, log: str | None, changes: bool = False, **compiled: Any) -> None:
        keras.backend.clear_session()
        keras.utils.set_random_seed(3)
        inputs = keras.Input((3,))
        x = keras.layers.Dropout(0.2)(Inverse(name="inverse")(inputs))
        self.model = Model(inputs, keras.layers.Dense(1, name="last")(x))
        self.model.compile("adam", "mse", **compiled)
        self.epochs: list[Any] = []
        keep = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.epochs.append(self.variables())
        )
        callbacks = [keep]
        if log is not None:
            watch = NanWatch(log, hparams={"rate": 1e-3}, experiments=10 * changes)
            callbacks.append(watch)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = self.model.fit(
                batches(),
                epochs=2,
                steps_per_epoch=BATCHES,
                callbacks=callbacks,
                verbose=0,
            )
        self.warnings = [w for w in caught if issubclass(w.category, NanWatchWarning)]
        self.history = history.history
        self.drawn = [
            np.array(keras.random.uniform((2,))),
            np.array(tf.random.uniform((2,))),
            np.random.rand(2),  # noqa: NPY002
            np.array([random.random()]),
        ]

    def variables(self) -> list[Any]:
        model = self.model
        return [np.array(v) for v in (*model.variables, *model.optimizer.variables)]

    def same_as(self, other: Outcome) -> bool:
        """Whether the two trainings are the same, bit for bit."""

        def raw(outcome: Outcome) -> list[bytes]:
            arrays = [*itertools.chain(*outcome.epochs), *outcome.drawn]
            arrays += [np.asarray(values) for values in outcome.history.values()]
            return [a.tobytes() for a in arrays]

        return raw(self) == raw(other)


class Looked:
    """Records which names are looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up: set[str] = set()
        for cls, method in (
            (names.Global, "find"),
            (names.Inside, "find"),
            (names.Attribute, "of"),
        ):
            monkeypatch.setattr(cls, method, self._noting(getattr(cls, method)))

    def _noting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def noting(name: names.Name, *args: Any) -> Any:
            self.up.add(name.text)
            return method(name, *args)

        return noting


@pytest.fixture(scope="module")
def plain() -> dict[bool, Outcome]:
    """The training without a callback, with XLA and without."""
    return {xla: Outcome(None, jit_compile=xla) for xla in (False, True)}


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / f"log{next(_numbers)}")


def texts(caught: list[Any]) -> list[str]:
    return [str(w.message) for w in caught]


def is_of(name: names.Name, message: str) -> bool:
    """Returns whether a warning is that of a missing name, with feature and versions."""
    version = versions.version_of(name.package)
    return (
        f"NaN Watch: {name.feature.value} is off, the rest goes on: " in message
        and f"{version} has no {name.text}." in message
        and f"tested with {versions.tested(name.package)}" in message
    )


# --- Nothing is missing -------------------------------------------------------


def test_the_training_goes_bad_in_its_last_step_alone(
    plain: dict[bool, Outcome],
) -> None:
    for outcome in plain.values():
        first, last = outcome.epochs
        assert all(np.isfinite(v).all() for v in first)
        assert not all(np.isfinite(v).all() for v in last)
        assert outcome.warnings == []


@pytest.mark.parametrize("xla", [False, True])
def test_nothing_is_said_where_nothing_is_missing(
    xla: bool,
    plain: dict[bool, Outcome],
    log: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(versions, "_said", False)
    looked = Looked(monkeypatch)
    watched = Outcome(log, changes=not xla, jit_compile=xla)
    assert texts(watched.warnings) == []
    said = "NaN Watch was tested with" in capsys.readouterr().err
    assert said is any(
        tuple(map(int, versions.version_of(package).split(".")[:2])) > newest
        for package, (_, newest) in versions.TESTED.items()
        if versions.version_of(package)  # of one backend alone
    )
    assert watched.same_as(plain[xla])
    found = read_log(Path(log))
    assert found.status.status == "diverged"
    (post_mortem,) = found.all("postmortem")
    assert post_mortem.result.op == "tf.math.divide"
    # What is taken away below is what this very training looks up.
    wanted = {n.text for n in NAMES if n.feature not in ELSEWHERE}
    without = Feature.EPSILON if xla else Feature.XLA
    wanted -= {n.text for n in NAMES if n.feature is without}
    assert looked.up >= wanted, wanted - looked.up


# --- One name is missing ------------------------------------------------------


@of(*(set(Feature) - ELSEWHERE))
def test_one_warning_and_one_feature_less(
    name: names.Name,
    plain: dict[bool, Outcome],
    log: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xla = name.feature is Feature.XLA
    hide(name, monkeypatch)
    watched = Outcome(log, changes=name.feature is Feature.EPSILON, jit_compile=xla)
    monkeypatch.undo()
    assert watched.same_as(plain[xla])
    assert len(watched.warnings) == 1, texts(watched.warnings)
    assert is_of(name, texts(watched.warnings)[0]), texts(watched.warnings)
    found = read_log(Path(log))
    if name.feature in (Feature.WATCHING, Feature.XLA):
        assert found.records == []
        return
    assert found.status.status == "diverged"
    assert found.status.state == "finished"
    named = [r.result.op for r in found.all("postmortem")]
    if name.feature is Feature.CAPSULE:
        assert named == []
    elif name.feature is Feature.POST_MORTEM:
        assert named == [None] or named == [""]
    else:
        assert named == ["tf.math.divide"]
    told = any(tag.startswith("_hparams_/") for tag in found.others)
    assert told is (name.feature is not Feature.HPARAMS_WRITTEN)


def test_a_feature_warns_once_a_process(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = [n for n in NAMES if n.feature is Feature.LEARNING_RATE]
    hide(name, monkeypatch)
    assert len(Outcome(log).warnings) == 1
    assert Outcome(log).warnings == []


@of(Feature.REMOTE_LOGS)
def test_a_remote_place_that_cannot_be_written_ends_no_training(
    name: names.Name, plain: dict[bool, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    place = f"memory://nanwatch/{next(_numbers)}"
    looked = Looked(monkeypatch)
    assert texts(Outcome(place).warnings) == []
    assert name.text in looked.up
    hide(name, monkeypatch)
    watched = Outcome(f"{place}b")
    assert watched.same_as(plain[False])
    assert len(watched.warnings) == 1
    assert is_of(name, texts(watched.warnings)[0])


def test_a_newer_version_is_named_as_the_first_training_begins(
    log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "_said", False)
    monkeypatch.setitem(versions.TESTED, "keras", ("Keras", (3, 1)))
    for _ in range(2):
        Outcome(log)
    assert capsys.readouterr().err.count("NaN Watch was tested with") == 1


# --- A search -----------------------------------------------------------------


def scores(path: Path, *callbacks: Any) -> tuple[list[Any], list[str]]:
    """Returns the scores of a search, and what NaN Watch warned of."""
    keras.utils.set_random_seed(3)
    options = {"max_trials": 1, "executions_per_trial": 2, "objective": "loss"}
    tuner = make("RandomSearch", with_rates(0.01, 0.02), path, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search(tuner, *callbacks, epochs=1, batch_size=32, validation_data=None)
    found = [t.score for t in tuner.oracle.trials.values()]
    return found, texts([w for w in caught if w.category is NanWatchWarning])


def search_without(name: names.Name, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asserts that a search goes as without a callback, with one warning of a name."""
    alone, _ = scores(path / "plain")
    looked = Looked(monkeypatch)
    hide(name, monkeypatch)
    watch = NanWatch(path / "log")
    watched, said = scores(path / "watched", watch)
    assert watched == alone and name.text in looked.up
    assert len(said) == 1 and is_of(name, said[0])


@of(Feature.EXECUTIONS)
def test_a_search_without_its_executions(
    name: names.Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_without(name, tmp_path, monkeypatch)
    # They are counted where they are not told.
    runs = [read_log(tmp_path / "log" / "0" / f"execution{k}") for k in (0, 1)]
    assert [run.status.execution for run in runs] == [0, 1]


@of(Feature.ENDED_SEARCHES)
def test_a_search_whose_end_cannot_be_told(
    name: names.Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kerastuner.trial_method(searches=True) is not None
    search_without(name, tmp_path, monkeypatch)
    assert read_log(tmp_path / "log" / "0" / "execution0").status.status == "clean"


@of(Feature.SHARED_SEARCH)
def test_a_worker_without_its_own_oracle(
    name: names.Name, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras_tuner.src.distribute.oracle_client import OracleClient

    for key in ("ORACLE_IP", "ORACLE_PORT", "TUNER_ID"):
        monkeypatch.setenv(f"KERASTUNER_{key}", "1")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective="loss", max_trials=3)
    alone = types.SimpleNamespace(oracle=oracle)
    worker = types.SimpleNamespace(oracle=OracleClient(oracle))
    assert kerastuner.own_oracle(worker) is oracle and kerastuner.is_shared(worker)
    hide(name, monkeypatch)
    with pytest.warns(NanWatchWarning) as caught:
        assert kerastuner.own_oracle(worker) is worker.oracle
        assert kerastuner.is_shared(worker)
    assert len(caught) == 1 and is_of(name, str(caught[0].message))
    assert kerastuner.own_oracle(alone) is oracle and not kerastuner.is_shared(alone)


@of(Feature.MODELS_BUILT)
def test_a_model_is_built_without_what_the_tuner_overrides(
    name: names.Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = make("RandomSearch", with_rates(0.01), tmp_path)
    hide(name, monkeypatch)
    with pytest.warns(NanWatchWarning) as caught:
        model = kerastuner.built(tuner, tuner.oracle.get_space())
    assert isinstance(model, keras.Model)
    assert len(caught) == 1 and is_of(name, str(caught[0].message))


# --- Reading ------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that KerasTuner's own callback logged."""
    path = tmp_path_factory.mktemp("logged")
    tuner = make("RandomSearch", with_rates(0.01), path, max_trials=1)
    board = keras.callbacks.TensorBoard(path / "log", write_graph=False)
    search(tuner, board, epochs=1, batch_size=32)
    return path / "log"


@of(Feature.HPARAMS_READ, Feature.LOGS)
def test_the_report_says_what_it_cannot_read(
    name: names.Name,
    logged: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = Looked(monkeypatch)
    assert main(["report", str(logged), "--all"]) == 0
    assert name.text in looked.up
    assert "#1" in capsys.readouterr().out
    hide(name, monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["report", str(logged)]) == 2
    error = capsys.readouterr().err
    if name.feature is Feature.LOGS:
        assert is_of(name, error) and caught == []
    else:
        assert "no NaN Watch records in" in error
        assert [is_of(name, text) for text in texts(caught)] == [True]


# --- At import ----------------------------------------------------------------

EVERYTHING_GONE = """
    import importlib, os, pkgutil, sys, warnings

    os.environ.update(KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="")
    import keras, keras_tuner, numpy as np, pytest, tensorflow as tf
    import tensorboard.plugins.hparams.api
    import tb_nanwatch
    from tb_nanwatch.compat import keras as _, kerastuner, names, tensorboard, tensorflow
    from tests.compat.hiding import hide

    def train(*callbacks):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.ones((8, 2), np.float32)
        model.fit(x, x[:, :1], verbose=0, callbacks=list(callbacks))
        return [w.tobytes() for w in model.get_weights()]

    plain = train()  # the packages find what they need themselves
    patch = pytest.MonkeyPatch()
    for name in names.known():
        hide(name, patch)
    from tb_nanwatch import NanWatch

    for module in pkgutil.walk_packages(tb_nanwatch.__path__, "tb_nanwatch.", onerror=str):
        # These two are imported only where Keras runs on them.
        if not any(f"backends.{name}" in module.name for name in ("torch", "jax")):
            importlib.import_module(module.name)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched = [train(NanWatch(sys.argv[1])) for _ in range(2)]
    assert watched == [plain] * 2
    said = [str(w.message) for w in caught if w.category is tb_nanwatch.NanWatchWarning]
    assert len(said) == 1 and "watching this training is off" in said[0], said
"""


def test_all_modules_are_imported_where_every_name_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EVERYTHING_GONE), str(tmp_path / "log")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
