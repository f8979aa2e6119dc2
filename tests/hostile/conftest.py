"""A clean Keras for every test, and the tally that becomes the table of docs/robustness.md."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest

# `make robustness` tries everything there is, CI a share of it.
FULL = os.environ.get("NANWATCH_ROBUSTNESS") == "1"


@dataclass
class Tally:
    """What was tried: title of a row to the number tried and the number lost."""

    rows: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, title: str, tried: int, lost: int = 0) -> None:
        before = self.rows.get(title, (0, 0))
        self.rows[title] = (before[0] + tried, before[1] + lost)


TALLY = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash[TALLY]


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether everything is tried, or a share of it."""
    return FULL


@pytest.fixture
def clean_keras() -> Iterator[None]:
    """Layers are named from the start, and numbers drawn from the same seed."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    yield
    keras.config.set_dtype_policy("float32")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = terminalreporter.config.stash[TALLY].rows
    if rows:
        terminalreporter.section("faults tried, survived, lost")
        for title, (tried, lost) in rows.items():
            terminalreporter.write_line(f"{title}: {tried:,}, {tried - lost:,}, {lost:,}")
