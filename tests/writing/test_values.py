"""A hyperparameter may be anything; the training is watched, and every reader reads on."""

from __future__ import annotations

import enum
import io
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings, strategies
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import plugin_data_pb2

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.postmortem.capsule import Capsule, without_controls
from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.reading.report.overview import overview as overview_of
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.record import codec, schema, strict_json
from tb_nanwatch.record.schema import BadTensor, HParam, Position, StatusRecord
from tb_nanwatch.writing.log.hparams import group_of, session_start
from tb_nanwatch.writing.log.summary import EventWriter
from tb_nanwatch.writing.search import tuner as tuners
from tb_nanwatch.writing.values import MAX_HPARAMS, name, plain, plain_hparams, scalar
from tests.reading.records import a_status
from tests.support.told import as_json, as_overview
from tests.tuner.searches import overview, run_of
from tests.writing.logs import read_log
from tests.writing.test_callback import fit, mlp


class Silent:
    """An object that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__
    __hash__ = object.__hash__

    @property
    def shape(self) -> Any:
        raise OSError("no shape")

    @property
    def item(self) -> Any:
        raise KeyError("no item")


class Liar(float):
    def __float__(self) -> float:
        raise ValueError("no number")


class Colour(str, enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


def cycle() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


ODD: list[Any] = [
    os.fsdecode(b"/data/caf\xe9.csv"),
    10**400,
    -(10**400),
    10**5000,
    2**64,
    float("nan"),
    float("-inf"),
    Silent(),
    Liar(2),
    "x" * 1_000_000,
    "\x00\x1b[31m\u202e\ud800",
    b"\xff\x00",
    [1, [2, [3]]],
    {"a": {1, 2}},
    cycle(),
    deep(),
    np.float32(0.5),
    np.float64("inf"),
    np.bool_(True),
    np.longdouble(1) / 3,
    np.array(3),
    np.array(Silent(), object),
    np.zeros((1000, 1000)),
    np.datetime64("2020-01-01"),
    Colour.RED,
    Size.LARGE,
    1j,
    (x for x in [1]),
    Silent,
    None,
    ...,
]
KEYS: list[Any] = [1, None, ("a", 2), b"b", "\ud800", "a\nb", "", "x" * 5000, Silent()]

TEXT = strategies.text(strategies.characters(codec=None, categories=None))
SURROGATES = strategies.text(strategies.characters(categories=["Cs", "Cc", "L"]))
SCALARS = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.integers(3, 6000).map(lambda digits: 10**digits),
    strategies.floats(),
    TEXT,
    SURROGATES,
    strategies.binary(),
    # By their places: not all can be printed.
    strategies.integers(0, len(ODD) - 1).map(lambda i: ODD[i]),
)
ANY = strategies.recursive(
    SCALARS,
    lambda some: strategies.lists(some) | strategies.dictionaries(TEXT, some),
    max_leaves=5,
)
NAMES = strategies.one_of(TEXT, SURROGATES, strategies.integers()) | (
    strategies.integers(0, len(KEYS) - 1).map(lambda i: KEYS[i])
)
MAPPINGS = strategies.dictionaries(NAMES, ANY, max_size=5)


def assert_plain(hparams: list[HParam]) -> None:
    """Every record that holds hyperparameters takes these."""
    names = [h.name for h in hparams]
    assert len(set(names)) == len(names)
    status = a_status(1, hparams=hparams)
    read = codec.decode(codec.encode(status))
    assert isinstance(read, StatusRecord)
    assert strict_json.dumps(read.hparams) == strict_json.dumps(hparams)
    for h in hparams:
        assert isinstance(h.value, bool | int | float | str | None)
        assert len(str(h.value)) < 12_000 and len(h.name) < 12_000
        if isinstance(h.value, int):
            float(h.value)
    # What the HParams tab of TensorBoard makes of it: JSON, by protobuf.
    content = session_start(hparams, "0", 1.0).value[0].metadata.plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    json_format.MessageToJson(started)
    active = {h.name for h in hparams if h.value is not None}
    assert set(started.hparams) == active


@given(MAPPINGS)
def test_whatever_is_given_the_records_take_it(values: dict[Any, Any]) -> None:
    assert_plain(plain_hparams(values))


@given(MAPPINGS)
def test_so_they_do_of_a_search(values: dict[Any, Any]) -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("choice", ["a\ud800", "b"])
    hp.Fixed("fixed", 10**400)
    hp.Int("units", 1, 10**330)
    hp.values.update(values)
    assert_plain(tuners._hparams(hp))
    tuners._lineage(hp.values)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MAPPINGS, MAPPINGS)
def test_whatever_is_given_the_report_is_read(
    tmp_path_factory: pytest.TempPathFactory, one: dict[Any, Any], other: dict[Any, Any]
) -> None:
    root = tmp_path_factory.mktemp("log")
    for number, values in enumerate((one, other, one), 1):
        status = a_status(number, bad=number == 2, hparams=plain_hparams(values))
        writer = EventWriter(str(root / str(number)))
        writer.write(status)
        writer.close()
    reader = Reader(make_provider(str(root)))
    snapshot = reader.snapshot(RequestContext(), "")
    assert len(snapshot.sessions) == 3 and snapshot.warnings == []
    full = as_json(overview_of(snapshot))
    json.loads(
        strict_json.dumps(in_report(as_overview(full))), parse_constant=pytest.fail
    )
    terminal.render(as_overview(full), io.StringIO())
    page(as_overview(full), {})


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MAPPINGS)
def test_whatever_is_given_the_capsule_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: dict[Any, Any]
) -> None:
    place = tmp_path_factory.mktemp("capsule") / "capsule"
    bad = BadTensor("loss", "total", num_nan=1, size=1)
    hparams = plain_hparams(values)
    for h in hparams:
        h.name = without_controls(h.name)
    Capsule(Position("train", 0, 0, 0), bad, [bad], hparams=hparams).write(place, 100)
    assert strict_json.dumps(Capsule.read(place).hparams) == strict_json.dumps(hparams)


@given(ANY)
def test_a_configuration_is_plain(value: Any) -> None:
    json.loads(strict_json.dumps(plain(value)), parse_constant=pytest.fail)
    json.loads(strict_json.dumps(plain({"a": value})), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.1, 0.1),
        (True, True),
        (64, 64),
        (2**63, 2**63),
        ("adam", "adam"),
        (None, None),
        (np.float32(0.5), 0.5),
        (np.array(3), 3),
        (np.bool_(True), True),
        (Colour.RED, "red"),
        (Size.LARGE, 3),
        ([64, [32]], "[64, [32]]"),
        (b"a", "b'a'"),
        ("\ud800a", "\\ud800a"),
        (10**400, "1" + "0" * 400),
        (Silent(), "<Silent>"),
        (10**5000, "<int>"),
        ("é" * 2000, "é" * 1000 + "… (2,000 characters)"),
    ],
    ids=lambda value: type(value).__name__,  # not all can be printed
)
def test_how_it_is_shown(value: Any, shown: Any) -> None:
    found = scalar(value)
    assert (found, type(found)) == (shown, type(shown))


def test_ordinary_hyperparameters_are_as_they_were() -> None:
    values = {"lr": 1e-3, "units": 64, "optimizer": "adam", "bias": True, "none": None}
    found = plain_hparams(values)
    assert {h.name: h.value for h in found} == values
    assert [h.type for h in found] == ["number", "number", "text", "boolean", "text"]
    config = keras.optimizers.Adam(1e-3).get_config()
    assert plain(config) == config
    assert name("learning rate") == "learning rate"


def test_there_are_never_too_many() -> None:
    assert len(plain_hparams({str(i): i for i in range(10 * MAX_HPARAMS)})) == MAX_HPARAMS


# --- Trainings --------------------------------------------------------------------


@pytest.fixture
def silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NanWatchWarning)
        yield


def test_a_training_with_odd_hyperparameters_is_watched(
    tmp_path: Path, silence: None, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {f"v{i}": value for i, value in enumerate(ODD)} | dict.fromkeys(KEYS, 1)
    values |= {"tensor": tf.constant(0.1), "variable": keras.Variable([1.0, 2.0])}
    plainly = fit(mlp(), bad=20)
    watched = fit(mlp(), NanWatch(tmp_path, hparams=values), bad=20)
    np.testing.assert_equal(watched.history, plainly.history)
    status = read_log(tmp_path).status
    assert (status.state, status.status, status.steps) == ("finished", "diverged", 10)
    assert len(status.hparams) == len(values)
    assert "diverged at epoch 1, batch 3." in capsys.readouterr().out
    capsule = Capsule.read(tmp_path / "nanwatch_capsule")
    assert len(capsule.hparams) == len(values)
    full = overview(tmp_path)
    (run,) = full["runs"]
    assert run["hparams"]["v0"] == "/data/caf\\udce9.csv"
    assert run["hparams"]["v1"] == "1" + "0" * 400
    assert run["reproduction"] is not None


def test_more_than_can_be_kept_is_said(tmp_path: Path, silence: None) -> None:
    for count in (MAX_HPARAMS, MAX_HPARAMS + 1):
        place = tmp_path / str(count)
        fit(mlp(), NanWatch(place, hparams={str(i): i for i in range(count)}))
        notes = read_log(place).session.notes
        said = "of 1,001 hyperparameters the first 1,000 are kept"
        assert (said in notes) == (count > MAX_HPARAMS)


class Odd(keras.optimizers.SGD):
    """An optimizer with a configuration that is none."""

    def get_config(self) -> dict[str, Any]:
        odd = {f"v{i}": value for i, value in enumerate(ODD)}
        return super().get_config() | odd | {Silent(): 1}


def test_a_training_with_an_odd_optimizer_is_watched(
    tmp_path: Path, silence: None
) -> None:
    model = mlp()
    model.compile(Odd(0.01), "mse")
    fit(model, NanWatch(tmp_path), bad=20)
    log = read_log(tmp_path)
    assert (log.status.status, log.status.state) == ("diverged", "finished")
    assert log.session.optimizer["learning_rate"] == pytest.approx(0.01)
    assert log.session.optimizer["v4"] == 2**64


def test_a_search_with_odd_hyperparameters_is_watched(
    tmp_path: Path, silence: None
) -> None:
    def build(hp: Any) -> Any:
        hp.Fixed("seed", 10**400)
        hp.Fixed("nothing", float("nan"))
        hp.Int("n", 0, 9)
        hp.values["nested"] = [1, [2, {"a": None}]]
        return mlp()

    tuner = keras_tuner.RandomSearch(
        build,
        "loss",
        max_trials=2,
        directory=tmp_path / "tuner",
        overwrite=True,
        seed=10**400,
        max_consecutive_failed_trials=10**5000,
    )
    x, y = np.ones((16, 6), np.float32), np.ones((16, 1), np.float32)
    y[3] = np.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        tuner.search(x, y, epochs=1, verbose=0, callbacks=[NanWatch(tmp_path / "log")])
    full = overview(tmp_path / "log")
    assert [r["status"] for r in full["runs"]] == ["diverged"] * 2
    hparams = run_of(full, "0/execution0")["hparams"]
    assert hparams["seed"] == "1" + "0" * 400
    assert hparams["nothing"] == "NaN"
    assert hparams["nested"] == "[1, [2, {'a': None}]]"
    capsule = Capsule.read(tmp_path / "log" / "0" / "execution0" / "nanwatch_capsule")
    assert capsule.seed is None and len(capsule.hparams) == len(hparams)
    assert re.search("2 of 2|All 2", full["searches"][0]["verdict"])


def test_trials_of_two_searches_are_two_groups_in_the_hparams_tab() -> None:
    groups = {
        group_of(schema.Search(search, name), trial)
        for search, name in (("1" * 16, "p"), ("2" * 16, "p"), ("1" * 16, "q"))
        for trial in ("0", "1")
    }
    assert len(groups) == 6
    content = session_start([], "p/1/0", 1.0).value[0].metadata.plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert started.group_name == "p/1/0"
