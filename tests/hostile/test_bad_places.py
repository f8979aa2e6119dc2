"""A place that cannot be written: training goes on, and nothing pending is lost."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.writing.backends.tensorflow import Instrument
from tb_nanwatch.writing.log import summary
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.log.summary import EventWriter
from tb_nanwatch.writing.recording import recorder as recorder_module
from tests.hostile.conftest import FULL, Tally
from tests.reading.records import a_status
from tests.writing.logs import Log, read_log
from tests.writing.test_callback import assert_clean, assert_same, fit, mlp, weights

pytestmark = pytest.mark.usefixtures("clean_keras")
TITLE = "trainings whose log directory cannot be written"


class Hook(keras.callbacks.Callback):
    """Does something at the end of a batch of the whole training."""

    def __init__(self, **at: Callable[[], None]) -> None:
        super().__init__()
        self._at = {int(name.removeprefix("step_")): do for name, do in at.items()}
        self._step = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._step in self._at:
            self._at[self._step]()
        self._step += 1


@pytest.fixture(scope="module")
def plain() -> list[Any]:
    """The weights without any callback."""
    keras.backend.clear_session()
    model = mlp()
    keras.utils.set_random_seed(9)
    fit(model, epochs=4, bad=13)
    return weights(model)


def train(*callbacks: Any) -> tuple[list[Any], list[str]]:
    """Returns the weights, and NaN Watch's warnings."""
    model = mlp()
    keras.utils.set_random_seed(9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NanWatchWarning)
        fit(model, *callbacks, epochs=4, bad=13)
    assert_clean(model)
    found = [str(w.message) for w in caught if issubclass(w.category, NanWatchWarning)]
    return weights(model), found


def assert_whole(log: Log, without: int = 0) -> None:
    """Every record since the first `without` of the session is there, once."""
    for kind, written in log.status.written.items():
        seqs = [r.seq for r in log.all(kind)]
        assert seqs == sorted(set(seqs)), kind
        if not without:
            assert len(seqs) == written + (kind == "status"), kind


@contextlib.contextmanager
def no_more_bytes(limit: int) -> Iterator[None]:
    """Files cannot grow beyond `limit` bytes, as on a full disk: the rest is refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def below_a_file(root: Path) -> str:
    (root / "file").write_text("")
    return str(root / "file" / "logs")


def a_file(root: Path) -> str:
    (root / "file").write_text("")
    return str(root / "file")


# A place is told of once a process: each test has its own.
PLACES: dict[str, tuple[Callable[[Path], str], str]] = {
    "a file": (a_file, "FileExistsError"),
    "below a file": (below_a_file, "NotADirectoryError"),
    "a read-only file system": (lambda root: f"/proc/nanwatch/{root.name}", "Error"),
    "a name that is too long": (lambda root: str(root / ("x" * 300)), "too long"),
    "s3 without a driver": (lambda root: f"s3://bucket/{root.name}", "pip install boto3"),
    "a scheme that nobody knows": (
        lambda root: f"nowhere://x/{root.name}",
        "Install fsspec",
    ),
}


@pytest.mark.parametrize("place", sorted(PLACES) if FULL else ["below a file"])
def test_a_bad_place_is_one_warning(
    place: str,
    plain: list[Any],
    tmp_path: Path,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_drivers(monkeypatch)
    make, words = PLACES[place]
    found, said = train(NanWatch(make(tmp_path)))
    assert_same(plain, found)
    (warning,) = said
    assert "cannot write to" in warning and "Training goes on" in warning
    assert words in warning
    tally.add(TITLE, 1)


@pytest.mark.parametrize("place", sorted(PLACES))
def test_every_bad_place_is_told_of_in_its_own_words(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_drivers(monkeypatch)
    make, words = PLACES[place]
    writer = EventWriter(make(tmp_path))
    with pytest.warns(NanWatchWarning) as caught:
        for seq in range(3):
            writer.write(a_status(seq=seq))
        writer.close()
    (warning,) = caught
    assert "cannot write to" in str(warning.message) and words in str(warning.message)


def without_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where neither boto3 nor fsspec is installed."""
    from tensorboard.compat.tensorflow_stub.io import gfile

    monkeypatch.delitem(gfile._REGISTERED_FILESYSTEMS, "s3", raising=False)
    monkeypatch.setattr(gfile, "FSSPEC_ENABLED", False)


def test_a_place_that_comes_to_be_has_everything(
    plain: list[Any], tmp_path: Path, tally: Tally
) -> None:
    logs = tmp_path / "logs"
    logs.write_text("a file stands here")
    watch = NanWatch(logs / "run")
    found, said = train(watch, Hook(step_11=logs.unlink))
    assert_same(plain, found)
    assert len(said) == 1
    log = read_log(logs / "run")
    assert_whole(log)
    assert (log.status.state, log.status.status) == ("finished", "diverged")
    assert log.status.onset is not None and log.status.onset.step == 1
    tally.add(TITLE, 1)


@pytest.mark.parametrize("limit", [0, 1, 40, 700, 2_000, 6_000] if FULL else [2_000])
def test_a_full_disk_that_is_cleared(
    limit: int, plain: list[Any], tmp_path: Path, tally: Tally
) -> None:
    """Full from the first record, from within one, and from between two."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(no_more_bytes(limit))
        found, said = train(NanWatch(tmp_path / "run"), Hook(step_11=stack.close))
    assert_same(plain, found)
    assert len(said) == 1 and "File too large" in said[0]
    assert len(list((tmp_path / "run").iterdir())) == 1  # no litter of half files
    log = read_log(tmp_path / "run")
    assert_whole(log)
    assert (log.status.state, log.status.status) == ("finished", "diverged")
    tally.add(TITLE, 1)


@pytest.mark.parametrize("limit", range(0, 2_400, 97))
def test_records_wait_for_a_full_disk(limit: int, tmp_path: Path) -> None:
    """Full at the first byte, within a record and between two; half of it is cleared."""
    writer = EventWriter(str(tmp_path / "run"))
    with pytest.warns(NanWatchWarning), no_more_bytes(limit):
        for seq in range(3):
            writer.write(a_status(seq=seq))
    with no_more_bytes(limit + 1_000):
        writer.write(a_status(seq=3))
    writer.write(a_status(seq=4))
    writer.close()
    assert len(list((tmp_path / "run").iterdir())) == 1  # no litter of half files
    assert [r.seq for r in read_log(tmp_path / "run").records] == list(range(5))


def test_a_disk_that_stays_full_keeps_what_was_whole(
    plain: list[Any], tmp_path: Path, tally: Tally
) -> None:
    with no_more_bytes(6_000):
        found, said = train(NanWatch(tmp_path / "run"))
    assert_same(plain, found)
    assert len(said) == 1
    log = read_log(tmp_path / "run")  # reads to the end: no half record is left
    assert log.status.state == "running"
    assert len(log.all("status")) < log.status.seq + 5
    tally.add(TITLE, 1)


def test_a_directory_deleted_while_training(
    plain: list[Any], tmp_path: Path, tally: Tally
) -> None:
    logs = tmp_path / "logs"
    found, said = train(
        NanWatch(logs / "run"),
        Hook(step_7=lambda: shutil.rmtree(logs), step_16=lambda: shutil.rmtree(logs)),
    )
    assert_same(plain, found)
    assert said == []  # it is made again
    log = read_log(logs / "run")
    assert_whole(log, without=1)
    assert (log.status.state, log.status.status) == ("finished", "diverged")
    assert log.status.origin is not None and log.status.origin.kind == "input"
    # What names the probes is written anew; what was in the old file is gone.
    assert len(log.session.train_probes) > 10
    assert log.session.seq > 0
    tally.add(TITLE, 1)


def test_a_search_warns_once_of_its_place(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    said = []
    for trial in range(3):
        run_dir = str(tmp_path / "logs" / str(trial))
        writer = EventWriter(run_dir, place=str(tmp_path / "logs"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for seq in range(3):
                writer.write(a_status(seq=seq))
        said += caught
    assert len(said) == 1


# --- Watching itself fails ------------------------------------------------------------


def failing(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("watching \x1b[31mbroke")


OWN = [
    (Instrument, "read"),
    (TrainingLog, "flush"),
    (recorder_module.Recorder, "finish"),
    (Instrument, "install"),
    (recorder_module.Recorder, "rows"),
    (recorder_module.Recorder, "begin_epoch"),
    (recorder_module.Recorder, "status"),
    (recorder_module.Recorder, "wants_look"),
    (TrainingLog, "begin"),
    (TrainingLog, "end"),
    (summary, "open_log"),
]


@pytest.mark.parametrize(
    ("owner", "name"), OWN if FULL else OWN[:3], ids=lambda x: getattr(x, "__name__", x)
)
def test_an_error_of_our_own_ends_no_training(
    owner: Any,
    name: str,
    plain: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tally: Tally,
) -> None:
    monkeypatch.setattr(owner, name, failing)
    found, said = train(NanWatch(tmp_path / "run"))
    assert_same(plain, found)
    assert len(said) == 1 and "NaN Watch" in said[0] and "RuntimeError" in said[0]
    tally.add("trainings in which watching itself fails", 1)


def test_a_closed_standard_error_ends_no_training(
    plain: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = (tmp_path / "closed").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    found, said = train(NanWatch(tmp_path / "run"))
    assert_same(plain, found)
    assert said == []
    assert read_log(tmp_path / "run").status.state == "finished"
