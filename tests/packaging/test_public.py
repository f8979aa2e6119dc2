"""What other people's code and TensorBoard rely on, locked."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import tb_nanwatch

ROOT = Path(__file__).resolve().parents[2]


def test_public_names() -> None:
    assert tb_nanwatch.__all__ == [
        "NanWatch",
        "NanWatchError",
        "NanWatchWarning",
        "NonFiniteError",
        "StabilitySearch",
        "UnsupportedError",
        "__version__",
        "report",
    ]
    assert dir(tb_nanwatch) == sorted(tb_nanwatch.__all__)
    assert all(getattr(tb_nanwatch, name) is not None for name in tb_nanwatch.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'tb_nanwatch' has no attribute 'NanWach'"):
        tb_nanwatch.NanWach  # noqa: B018


def test_the_version_is_one_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", tb_nanwatch.__version__)
    assert metadata.version("tb-nanwatch") == tb_nanwatch.__version__
    assert f"## {tb_nanwatch.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_entry_points() -> None:
    ours = {
        (e.group, e.name, e.value)
        for e in metadata.distribution("tb-nanwatch").entry_points
    }
    assert ours == {
        (
            "tensorboard_plugins",
            "nanwatch",
            "tb_nanwatch.reading.tab.loader:NanWatchLoader",
        ),
        ("console_scripts", "tb-nanwatch", "tb_nanwatch.reading.cli:main"),
    }
    for entry in metadata.distribution("tb-nanwatch").entry_points:
        assert callable(entry.load())


def test_viewing_requires_neither_tensorflow_nor_keras() -> None:
    required = metadata.requires("tb-nanwatch") or []
    names = {re.split(r"[^\w-]", r)[0] for r in required if "extra ==" not in r}
    assert names == {"tensorboard", "numpy", "protobuf", "werkzeug", "rich"}


def test_what_is_pinned_fits_what_is_required() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    for text in metadata.requires("tb-nanwatch") or []:
        requirement = Requirement(text)
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text}, pinned to {version}"


def test_the_command_prints_its_version() -> None:
    command = Path(sys.executable).with_name("tb-nanwatch")
    done = subprocess.run(
        [command, "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == tb_nanwatch.__version__
