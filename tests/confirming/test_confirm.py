"""`NanWatch(confirm=...)` in real searches: what fires, and what stays silent."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.confirming import end
from tb_nanwatch.stability.trial import Outcome
from tests.tuner.searches import X, Y, linear, make, overview, search

Printed = pytest.CaptureFixture[str]


def build(hp: Any) -> Any:
    return linear(hp.Float("rate", 1e-3, 100.0, sampling="log"))


def run(path: Path, confirm: Any, build: Any = build, **more: Any) -> Any:
    """Searches four trials, of which one goes bad; returns the tuner."""
    tuner = make("RandomSearch", build, path, **({"max_trials": 4} | more))
    search(tuner, NanWatch(path / "logs", confirm=confirm))
    return tuner


def the_search(path: Path) -> dict[str, Any]:
    (found,) = overview(path / "logs")["searches"]
    return dict(found)


class Seen(keras.callbacks.Callback):
    """Counts the fits that it was given to, its copies' too."""

    fits = 0

    def on_train_begin(self, logs: Any = None) -> None:
        type(self).fits += 1


def test_a_hint_is_put_to_the_test(tmp_path: Path, capsys: Printed) -> None:
    Seen.fits = 0
    tuner = make("RandomSearch", build, tmp_path, max_trials=4)
    search(tuner, NanWatch(tmp_path / "logs", confirm=6), Seen())
    assert Seen.fits == 4  # the user's callbacks are left out
    full = overview(tmp_path / "logs")
    (found,) = full["searches"]
    came = found["confirmation"]
    assert (came["inside"], came["outside"]) == ([3, 3], [0, 3])
    assert came["p_value"] == pytest.approx(0.05) and came["confirmed"]
    # Counted alone: no trial, run, score or finding of the search is one of them.
    assert found["trials"] == len(full["runs"]) == len(tuner.oracle.trials) == 4
    assert found["by_status"] == {"clean": 3, "diverged": 1}
    (finding,) = full["findings"]
    assert finding["condition"] == came["condition"]
    assert (finding["inside"], finding["outside"]) == ([1, 1], [0, 3])
    # And told: as the search ends, and where it is asked how sure the answer is.
    text = came["text"]
    assert "was confirmed by 6 short trials, 3 on each side: p = 0.05" in text
    assert "rate <= " in text and text in found["first"]["more"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "6 more trials of at most" in printed and text in printed


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has no extra trial trained; returns on which side each of them would have been."""
    sides: list[bool] = []

    def outcome(*_: Any) -> Outcome:
        sides.append(bool(len(sides) % 2))
        return Outcome(sides[-1], 1)

    monkeypatch.setattr(end, "train", outcome)
    return sides


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A search with a hint that nothing was asked to confirm, and where it lies."""
    path = tmp_path_factory.mktemp("searched")
    tuner = make("RandomSearch", build, path, max_trials=4)
    search(tuner, NanWatch(path / "logs"))
    return tuner, path


def confirmed(searched: tuple[Any, Path], count: int = 6, tuner: Any = None) -> str:
    """Tests the search's hint as its end would; returns what is said of it."""
    logs = str(searched[1] / "logs")
    return end.confirm(tuner or searched[0], logs, count, (X, Y), {"batch_size": 2})


def test_it_is_off_by_default(searched: tuple[Any, Path]) -> None:
    found = the_search(searched[1])
    assert found["by_status"] == {"clean": 3, "diverged": 1}
    assert found["confirmation"] is None


def test_without_a_hint_nothing_is_trained(
    tmp_path: Path, trained: list[bool], recwarn: pytest.WarningsRecorder
) -> None:
    run(tmp_path, 6, lambda hp: linear(hp.Float("rate", 1e-3, 1e-2)), max_trials=2)
    assert not trained and the_search(tmp_path)["confirmation"] is None
    assert not [w for w in recwarn if issubclass(w.category, NanWatchWarning)]


class OwnFit(keras_tuner.HyperModel):  # type: ignore[misc]
    """Trains as KerasTuner does, which nobody but its author knows."""

    def build(self, hp: Any) -> Any:
        return build(hp)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, **kwargs)


class OwnTrial(keras_tuner.RandomSearch):  # type: ignore[misc]
    """Likewise."""

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        return super().run_trial(trial, *args, **kwargs)


@pytest.mark.parametrize(
    ("cls", "model"), [(keras_tuner.RandomSearch, OwnFit()), (OwnTrial, build)]
)
def test_what_the_user_trains_is_trained_by_nobody_else(
    cls: Any, model: Any, tmp_path: Path, trained: list[bool], searched: tuple[Any, Path]
) -> None:
    tuner = cls(model, objective="loss", max_trials=1, directory=tmp_path)
    with pytest.warns(NanWatchWarning, match="confirm=6 tested nothing: its models are"):
        assert confirmed(searched, tuner=tuner) == ""
    assert not trained


@pytest.mark.parametrize("name", ["RandomSearch", "Hyperband", "GridSearch"])
def test_kerastuners_own_tuners_train_by_themselves(name: str, tmp_path: Path) -> None:
    assert end.trains_by_itself(make(name, build, tmp_path))


def test_a_worker_of_several_trains_none(
    trained: list[bool], searched: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end, "is_shared", lambda tuner: True)
    with pytest.warns(NanWatchWarning, match="tested nothing: a worker of a distributed"):
        assert confirmed(searched) == ""
    assert not trained


@pytest.mark.parametrize("given", [-2, 2.5, "many", True, None])
def test_what_is_no_number_of_trials_is_none(tmp_path: Path, given: Any) -> None:
    with pytest.warns(NanWatchWarning, match="confirm must be a number of trials"):
        assert NanWatch(tmp_path, confirm=given).confirm == 0


def test_too_few_to_prove_anything(
    trained: list[bool], searched: tuple[Any, Path]
) -> None:
    with pytest.warns(NanWatchWarning, match="4 trials prove nothing.*give at least 6"):
        assert confirmed(searched, 4) == ""
    assert not trained


def test_what_an_extra_trial_raises_is_a_warning(
    searched: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Outcome:
        raise OSError("the disk is full")

    monkeypatch.setattr(end, "train", broken)
    with pytest.warns(NanWatchWarning, match="confirm=6 could not test the hint.*full"):
        assert confirmed(searched) == ""
    assert the_search(searched[1])["confirmation"] is None


def test_a_log_that_cannot_be_read_is_a_warning(
    searched: tuple[Any, Path], trained: list[bool]
) -> None:
    with pytest.warns(NanWatchWarning, match="could not test the hint: .*does not exist"):
        assert end.confirm(searched[0], str(searched[1] / "gone"), 6, (X, Y), {}) == ""
    assert not trained


def test_what_goes_bad_late_is_not_tested(
    trained: list[bool], searched: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end, "_MOST_STEPS", 3)
    with pytest.warns(NanWatchWarning, match="a short trial has at most 3 steps"):
        assert confirmed(searched) == ""
    assert not trained


def test_the_random_state_is_put_back(
    searched: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def draws(*_: Any) -> Outcome:
        random.random()
        np.random.rand()  # noqa: NPY002
        return Outcome(True, 1)

    def unwritable(place: str) -> Any:
        raise OSError("read-only")

    def state() -> list[Any]:
        return [random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002

    monkeypatch.setattr(end, "train", draws)
    monkeypatch.setattr(end, "EventWriter", unwritable)
    before = state()
    with pytest.warns(NanWatchWarning, match="could not log what the short trials"):
        said = confirmed(searched)
    assert state() == before
    # Where all go bad, on both sides, the condition is not what they die of.
    assert "was not confirmed by 6 short trials, 3 on each side: p = 1 (3 of 3" in said


def test_before_the_exception_of_an_abort_goes_on(
    tmp_path: Path, trained: list[bool], capsys: Printed
) -> None:
    """One failure in a row is enough for KerasTuner to give the search up."""
    with pytest.raises(RuntimeError, match="consecutive failures"):
        run(tmp_path, 6, max_trials=9, max_consecutive_failed_trials=1)
    assert trained == [False, True] * 3
    found = the_search(tmp_path)
    assert found["aborted"] and found["confirmation"]["confirmed"]
    assert found["confirmation"]["text"] in " ".join(capsys.readouterr().out.split())


def test_whoever_ends_a_search_by_hand_does_not_wait(
    tmp_path: Path, trained: list[bool]
) -> None:
    class Impatient(keras.callbacks.Callback):
        ended = 0

        def on_train_end(self, logs: Any = None) -> None:
            type(self).ended += 1
            if self.ended == 4:
                raise KeyboardInterrupt

    tuner = make("RandomSearch", build, tmp_path, max_trials=9)
    with pytest.raises(KeyboardInterrupt):
        search(tuner, Impatient(), NanWatch(tmp_path / "logs", confirm=6))
    assert not trained and the_search(tmp_path)["confirmation"] is None
