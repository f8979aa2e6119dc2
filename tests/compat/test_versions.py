"""One line where a version trains that is newer than those that were tested."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path

import pytest

from tb_nanwatch.compat import versions

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def not_said_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_said", False)


def here(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    """Has packages of these versions loaded, and no others."""
    for package in versions.TESTED:
        module = types.ModuleType(package)
        if package in found:
            module.__dict__["__version__"] = found[package]
        monkeypatch.setitem(sys.modules, package, module)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"keras": "3.17.0"}, "Keras up to 3.15; this is 3.17.0."),
        ({"keras": "4.0.1"}, "Keras up to 3.15; this is 4.0.1."),
        ({"keras": "3.16.0.dev2026102704"}, "Keras up to 3.15; this is 3.16.0.dev2026"),
        (
            {"keras": "3.16.0", "tensorflow": "2.23.0", "tensorboard": "2.21.0"},
            "Keras up to 3.15 and TensorFlow up to 2.21; these are 3.16.0 and 2.23.0.",
        ),
        ({"keras_tuner": "1.5.0"}, "KerasTuner up to 1.4; this is 1.5.0."),
    ],
)
def test_a_newer_version_is_named_once(
    found: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here(monkeypatch, **found)
    versions.say_if_untested()
    versions.say_if_untested()
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"NaN Watch was tested with {line}")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"keras": "3.8.0", "tensorflow": "2.18.0"},
        {"keras": "3.15.9", "tensorflow": "2.21.1", "keras_tuner": "1.4.8"},
        {"keras": "3.15.0rc1"},
        {"keras": "unknown"},
    ],
)
def test_a_version_that_was_tested_is_not_mentioned(
    found: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here(monkeypatch, **found)
    versions.say_if_untested()
    assert capsys.readouterr() == ("", "")


def test_a_closed_standard_error_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, keras="3.17.0")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    versions.say_if_untested()


def test_the_tested_versions_are_those_that_the_project_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for package, (_, newest) in versions.TESTED.items():
        version = pinned[package.replace("_", "-")]
        assert tuple(map(int, version.split(".")[:2])) == newest, package
