"""What is said to be watched, trained: a part of the table's cells, and what has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.writing.supported import check_model
from tests.support.share import by_turns
from tests.writing import coverage, kinds
from tests.writing.kinds import KINDS, Kind
from tests.writing.logs import read_log

# The modes of one kind after the other: XLA, which takes five times as long, every 18th
# time. They begin so that the kind with 300 steps in an execution, a minute in eager mode,
# is in another one. The builds go round besides; `make coverage` trains all cells.
_TURNS = (*("graph", "graph", "eager") * 5, *("XLA", "graph", "eager"))


def _cells() -> list[tuple[Kind, str, str]]:
    builds = by_turns([(kind, kind.builds) for kind in KINDS], thorough=False)
    return [
        (kind, build, _TURNS[i % len(_TURNS)]) for i, (kind, build) in enumerate(builds)
    ]


@pytest.mark.parametrize(
    ("kind", "build", "mode"), _cells(), ids=lambda v: getattr(v, "name", v)
)
def test_is_watched_as_the_table_says(
    kind: Kind, build: str, mode: str, tmp_path: Path
) -> None:
    found = kinds.outcome(kind, build, mode, tmp_path)
    assert found == coverage.kept()[coverage.key(kind, build, mode)]


def test_a_difference_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "NanWatch", lambda log_dir: _Nudge(log_dir))
    assert kinds.outcome(KINDS[0], "built", "graph", tmp_path) == "differs (weights)"


class _Nudge(NanWatch):
    """Changes the last bit of one weight, at the very end."""

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        variable = self.model.trainable_variables[0]
        value = variable.numpy()
        value[0, 0] = np.nextafter(value[0, 0], np.float32(9))
        variable.assign(value)


def test_every_cell_is_well(tmp_path: Path) -> None:
    """None raises, is taken for bad or lacks probes; in eager mode nothing differs."""
    kept = coverage.kept()
    assert set(kept) == {coverage.key(*cell) for cell in coverage.cells()}
    for name, found in kept.items():
        said = ("identical", "not by Keras", "Keras itself")
        assert found.startswith(said if "| eager |" in name else (*said, "differs")), name


def test_the_page_says_so() -> None:
    table = f"{coverage.START}\n{coverage.table(coverage.kept())}\n{coverage.END}"
    assert table in coverage.PAGE.read_text(encoding="utf-8"), (
        "run make coverage, and commit what it writes"
    )


def test_two_fits_of_one_model(tmp_path: Path) -> None:
    def train(*watches: NanWatch) -> list[Any]:
        keras.utils.set_random_seed(3)
        model = kinds.BUILDS["built"](kinds.Plain)
        model.compile("adam", "mse")
        x, y = kinds.data()
        first, second = [[w] for w in watches] or ([], [])
        model.fit(x, y, verbose=0, callbacks=first)
        model.fit(x, y, epochs=3, initial_epoch=1, verbose=0, callbacks=second)
        return [np.array(w) for w in model.get_weights()]

    plain = train()
    watched = train(NanWatch(tmp_path / "1"), NanWatch(tmp_path / "2"))
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a, b)
    assert read_log(tmp_path / "1").status.steps == 3
    second = read_log(tmp_path / "2").status
    assert (second.steps, second.epochs) == (6, 3)


def test_train_on_batch_has_no_callbacks(tmp_path: Path) -> None:
    model = kinds.BUILDS["built"](kinds.Plain)
    model.compile("adam", "mse")
    x, y = kinds.data()
    NanWatch(tmp_path).set_model(model)
    model.train_on_batch(x, y)
    assert not list(tmp_path.iterdir())


class _Foreign:
    """Stands for a model of Keras 2."""


_Foreign.__module__ = "tf_keras.src.models"


def test_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="not with `tf_keras`"):
        check_model(_Foreign())
    with pytest.raises(UnsupportedError, match=r"received builtins\.object\. Expected"):
        check_model(object())
    with pytest.raises(UnsupportedError, match="Layer` with Keras' own training"):
        check_model(keras.layers.Dense(1))
    check_model(kinds.TrainerAndLayer())
    monkeypatch.setattr("tb_nanwatch.errors._TOLD", set())
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    model = kinds.BUILDS["built"](kinds.Plain)
    model.compile("adam", "mse")
    x, y = kinds.data()
    before = [np.array(w) for w in model.get_weights()]
    with pytest.warns(NanWatchWarning, match="the backend here is 'openvino'") as caught:
        model.fit(x, y, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert len([w for w in caught if w.category is NanWatchWarning]) == 1
    assert not np.array_equal(before[0], model.get_weights()[0])  # it trained
