"""The entry point: what it does to TensorBoard's flags, and that it never raises."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import pytest
from tensorboard.plugins.base_plugin import TBContext

from tb_nanwatch.reading.tab import loader
from tb_nanwatch.reading.tab.loader import NanWatchLoader

OURS = {"nanwatch": 0, "nanwatch_status": 1}


def fixed(**flags: Any) -> argparse.Namespace:
    namespace = argparse.Namespace(**flags)
    NanWatchLoader().fix_flags(namespace)
    return namespace


@pytest.mark.parametrize(
    "received, expected",
    [
        ({}, OURS),
        (None, OURS),
        ("", OURS),
        ("scalars=5", {**OURS, "scalars": 5}),
        ({"scalars": 5}, {**OURS, "scalars": 5}),
        # The user's own choice wins.
        ({"nanwatch": 7}, {**OURS, "nanwatch": 7}),
        ("nanwatch=7, images=2", {**OURS, "nanwatch": 7, "images": 2}),
        # TensorBoard complains about these in its own words.
        ("scalars", "scalars"),
        ("scalars=many", "scalars=many"),
        (17, 17),
    ],
)
def test_samples_per_plugin(received: Any, expected: Any) -> None:
    assert fixed(samples_per_plugin=received).samples_per_plugin == expected


def test_samples_per_plugin_missing() -> None:
    assert fixed().samples_per_plugin == OURS


def test_the_callers_own_dict_is_left_alone() -> None:
    mine = {"scalars": 5}
    fixed(samples_per_plugin=mine)
    assert mine == {"scalars": 5}


@pytest.mark.parametrize(
    "received, expected", [(None, True), (True, True), (False, False)]
)
def test_reload_multifile_only_where_not_chosen(received: Any, expected: bool) -> None:
    assert fixed(reload_multifile=received).reload_multifile is expected


def test_flags_that_cannot_be_set_do_not_stop_tensorboard() -> None:
    class Frozen:
        __slots__ = ()

    NanWatchLoader().fix_flags(Frozen())


@pytest.mark.parametrize(
    "logdir, installed, expected",
    [
        ("s3://bucket/logs", {"tensorflow"}, "install tb-nanwatch boto3"),
        ("az://bucket/logs", {"tensorflow"}, "install tb-nanwatch fsspec"),
        ("s3://bucket/logs", set(), None),
        ("s3://bucket/logs", {"tensorflow", "tensorflow_io"}, None),
        ("gs://bucket/logs", {"tensorflow"}, None),
        ("logs", {"tensorflow"}, None),
        (None, {"tensorflow"}, None),
    ],
)
def test_a_place_that_tensorboard_cannot_read_is_said(
    logdir: str | None,
    installed: set[str],
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        loader, "find_spec", lambda name: object() if name in installed else None
    )
    monkeypatch.setattr(loader.logger, "propagate", True)
    fixed(logdir=logdir)
    if expected is None:
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert expected in record.getMessage() and str(logdir) in record.getMessage()


def test_load_returns_the_plugin() -> None:
    plugin = NanWatchLoader().load(TBContext(data_provider=object()))
    assert plugin.plugin_name == "nanwatch"


def test_load_logs_one_error_and_returns_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tb_nanwatch.reading.tab.plugin", None)
    monkeypatch.setattr(
        "tb_nanwatch.reading.tab.loader.logger.propagate", True, raising=False
    )
    assert NanWatchLoader().load(TBContext()) is None
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert "NaN Watch tab is not available" in record.getMessage()
