"""Where a log goes, and whether what is printed about it leads there."""

from __future__ import annotations

import os
import shlex
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, strategies

from tb_nanwatch import NanWatch
from tb_nanwatch.wording.text import shell_word
from tb_nanwatch.writing.log import files
from tests.writing.test_callback import fit, mlp


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, which is that of the user as well."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Wander(keras.callbacks.Callback):
    """Works in another directory from the first epoch on."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        os.makedirs("other", exist_ok=True)
        os.chdir("other")


def logged(root: Path) -> list[str]:
    """Returns the directories below `root` that hold event files of NaN Watch."""
    found = (os.path.relpath(p.parent, root) for p in root.rglob("*.nanwatch"))
    return sorted(found)


def command(said: str) -> list[str]:
    """Returns the words of the command that a message ends in, as a shell takes them."""
    (line,) = [li for li in said.splitlines() if "tb-nanwatch report" in li]
    return shlex.split(line[line.index("tb-nanwatch report") :])


def test_a_training_that_changes_its_directory_has_one_log(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(mlp(), Wander(), NanWatch("logs"), bad=39, epochs=3, shuffle=False)
    assert Path.cwd() == home / "other" / "other" / "other"
    assert logged(home) == ["logs"]
    assert (home / "logs" / "nanwatch_capsule").is_dir()
    # From here "logs" no longer leads there.
    assert command(capsys.readouterr().out)[-1] == str(home / "logs")


def test_what_is_printed_after_a_change_of_directory_leads_to_the_log(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = NanWatch("logs")
    (home / "other").mkdir()
    os.chdir("other")
    fit(mlp(), watch, bad=3)
    assert logged(home) == ["logs"]
    assert command(capsys.readouterr().out)[-1] == str(home / "logs")


def test_a_search_that_changes_its_directory_has_one_log(home: Path) -> None:
    def build(hp: Any) -> Any:
        hp.Int("n", 0, 9)
        return mlp()

    tuner = keras_tuner.RandomSearch(
        build, "loss", max_trials=2, directory=home / "tuner", overwrite=True
    )
    x, y = np.ones((8, 6), np.float32), np.ones((8, 1), np.float32)
    tuner.search(x, y, epochs=2, verbose=0, callbacks=[Wander(), NanWatch("logs")])
    assert logged(home) == ["logs/0/execution0", "logs/1/execution0"]


def test_the_users_directory_is_found(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(mlp(), NanWatch("~/my logs/a"), bad=3)
    assert logged(home) == ["my logs/a"]
    assert not (home / "~").exists()
    words = command(capsys.readouterr().out)
    assert words == ["tb-nanwatch", "report", str(home / "my logs" / "a")]


def test_a_path_is_a_path(home: Path) -> None:
    for given_dir in (Path("logs"), "logs", "./logs", home / "logs"):
        assert NanWatch(given_dir).log_dir == str(home / "logs")


@pytest.mark.parametrize("place", ["s3://bucket/a b", "gs://x/~", "memory://~/logs"])
def test_remote_places_stay_as_they_are(place: str, home: Path) -> None:
    assert NanWatch(place).log_dir == place
    assert files.run_directory(NanWatch(place).log_dir, "0/execution0").startswith(place)


def test_a_working_directory_that_is_gone_stops_nobody(home: Path) -> None:
    gone = home / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    history = fit(mlp(), NanWatch(str(home / "logs")))
    assert len(history.history["loss"]) == 2 and logged(home) == ["logs"]
    assert NanWatch("logs").log_dir == "logs"


# --- Words of a shell -------------------------------------------------------------

TEXT = strategies.text(
    strategies.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
)


@given(TEXT)
def test_a_shell_reads_the_path_that_was_quoted(path: str) -> None:
    assert shlex.split(f"tb-nanwatch report {shell_word(path)}")[2:] == [path]


@pytest.mark.parametrize(
    "path",
    ["/a  b", "it's", 'a"b', "$HOME", "`id`", "a;b", "~/x", "logs", "*", "caf\xe9"],
)
def test_a_real_shell_reads_it_too(path: str) -> None:
    found = subprocess.run(
        ["sh", "-c", f"printf %s {shell_word(path)}"], capture_output=True, check=True
    )
    assert found.stdout.decode() == path


def test_what_needs_no_quotes_has_none() -> None:
    assert shell_word("/tmp/my-logs_1/run.2") == "/tmp/my-logs_1/run.2"


@given(strategies.text())
def test_no_word_is_obeyed_by_a_terminal(path: str) -> None:
    word = shell_word(path)
    assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in word)
