"""Searches that end past KerasTuner, and trials of which the callback hears nothing."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest
from keras_tuner.errors import FailedTrialError, FatalError, FatalValueError

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.record import strict_json
from tests.support.told import as_overview
from tests.tuner.searches import linear, make, overview, run_of, search

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


class Silent(Exception):  # noqa: N818, what it is, it does not say
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Hyper(keras_tuner.HyperModel):
    """Raises at a place, from the trial `at` on; or drops the callbacks.

    Args:
        where: "build", "before", "after" (a fit), "return", or what `fit` is to do.
        error: that is raised.
        at: the first trial that is struck, from 0.
    """

    def __init__(self, where: str, error: Any = None, at: int = 0) -> None:
        super().__init__()
        self.where, self.error, self.at = where, error, at
        self.seen = False

    def build(self, hp: Any) -> Any:
        n = hp.Int("n", 0, 3)
        # KerasTuner builds a model when the tuner is made, to see the space.
        seen, self.seen = self.seen, True
        if self.where == "build" and n >= self.at and seen:
            raise self.error
        return linear(0.01)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        struck = hp.get("n") >= self.at
        if struck and self.where == "before":
            raise self.error
        if struck and self.where == "drop":
            kwargs["callbacks"] = None
        if struck and self.where == "loop":
            return self.loop(model, *args, **kwargs)
        history = model.fit(*args, **kwargs)
        if struck and self.where == "after":
            raise self.error
        return model if struck and self.where == "return" else history

    def loop(self, model: Any, x: Any, y: Any, callbacks: Any, **kwargs: Any) -> float:
        watches = [c for c in callbacks if isinstance(c, NanWatch)]
        for callback in watches:
            callback.set_model(model)
        for epoch in range(2):
            loss = float(model.train_on_batch(x, y))
            for callback in watches:
                callback.on_epoch_end(epoch, {"val_loss": loss})
        return loss


class Own(keras_tuner.RandomSearch):
    """A tuner with a run_trial of its own; `how` is like that of `Hyper`."""

    how: str = ""
    error: Any = None

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        trial.hyperparameters.Int("n", 0, 3)
        if self.how == "before":
            raise self.error
        if self.how == "drop":
            kwargs.pop("callbacks")
        if self.how == "no training":
            return 1.0
        history = linear(0.01).fit(*args, **kwargs)
        if self.how == "after":
            raise self.error
        return "a word" if self.how == "return" else history


def own(path: Path, how: str, error: Any = None) -> Any:
    tuner = Own(
        objective="val_loss",
        max_trials=2,
        directory=path / "tuner",
        overwrite=True,
        seed=1,
    )
    tuner.how, tuner.error = how, error
    return tuner


def shown(full: dict[str, Any]) -> list[str]:
    """Returns the overview as a terminal, the JSON and the page have it."""
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    texts = [
        out.getvalue(),
        strict_json.dumps(in_report(as_overview(full))),
        page(as_overview(full), {}),
    ]
    return [" ".join(text.split()) for text in texts]


def ended(path: Path, tuner: Any, error: type[BaseException], **more: Any) -> Any:
    """Runs a search that `error` ends; returns the overview."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", NanWatchWarning)
        with pytest.raises(error) as caught:
            search(tuner, NanWatch(path / "log", experiments=0), batch_size=32, **more)
    assert caught.type is error  # the program's own, and no other
    assert not {"on_trial_end", "on_search_end"} & set(vars(tuner))
    full = overview(path / "log")
    for text in shown(full):
        assert error.__name__ in text
        assert "No trial was watched. The" not in text
    return full


def assert_failed(full: dict[str, Any], run: str, kind: str, message: str) -> None:
    found = run_of(full, run)
    assert (found["state"], found["error_type"]) == ("failed", kind)
    assert message in (found["error_message"] or "")
    assert found["failure"].startswith(kind)
    (entry,) = full["searches"]
    assert entry["aborted"]["trials"] == [found["trial_id"]]
    assert entry["aborted"]["message"].startswith(kind)
    assert entry["aborted"]["reasons"][0].startswith(kind)
    assert "max_consecutive_failed_trials" not in entry["aborted"]["fix"]


# --- FatalError -------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    "where, status",
    [("build", "unwatched"), ("before", "unwatched"), ("after", "clean")],
)
def test_a_fatal_error_fails_the_trial_and_ends_the_search(
    where: str, status: str, at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hyper = Hyper(where, FatalError("a bug of the program"), at)
    options = {"max_trials": 4, "max_consecutive_failed_trials": 2}
    full = ended(tmp_path, make("GridSearch", hyper, tmp_path, **options), FatalError)
    (entry,) = full["searches"]
    assert entry["trials"] == at + 1
    trial = f"{at}/execution0"
    assert_failed(full, trial, "FatalError", "a bug of the program")
    assert run_of(full, trial)["status"] == status
    assert run_of(full, trial)["hparams"] == {"n": at}
    assert (
        "1 failed with FatalError, not by going bad: a bug of the program."
        in (entry["verdict"])
    )
    assert entry["verdict"].endswith("The search was aborted.")
    for n in range(at):
        assert run_of(full, f"{n}/execution0")["state"] == "finished"
    # No higher limit would help.
    assert "max_consecutive_failed_trials" not in capsys.readouterr().err


@pytest.mark.parametrize("at", [0, 1])
def test_what_fit_returns_by_mistake_fails_the_trial(at: int, tmp_path: Path) -> None:
    tuner = make("GridSearch", Hyper("return", at=at), tmp_path, max_trials=4)
    error = keras_tuner.errors.FatalTypeError
    full = ended(tmp_path, tuner, error)
    assert_failed(full, f"{at}/execution0", "FatalTypeError", "HyperModel.fit()")


@pytest.mark.parametrize("error", [FatalValueError("no"), FatalError(), Silent()])
def test_whatever_it_is_called(error: Any, tmp_path: Path) -> None:
    if isinstance(error, Silent):
        error = type("Mute", (Silent, FatalError), {})()
    tuner = make("GridSearch", Hyper("after", error), tmp_path)
    full = ended(tmp_path, tuner, type(error))
    assert run_of(full, "0/execution0")["error_type"] == type(error).__name__
    assert run_of(full, "0/execution0")["state"] == "failed"


@pytest.mark.parametrize("where", ["before", "after", "return"])
def test_of_a_tuner_of_the_programs_own(where: str, tmp_path: Path) -> None:
    kind = FatalError if where != "return" else keras_tuner.errors.FatalTypeError
    full = ended(tmp_path, own(tmp_path, where, FatalError("a bug")), kind)
    message = "a bug" if where != "return" else "Tuner.run_trial()"
    assert_failed(full, "0/execution0", kind.__name__, message)
    assert run_of(full, "0/execution0")["steps"] == (0 if where == "before" else 4)


@pytest.mark.parametrize("where", ["build", "after"])
def test_only_the_execution_that_it_struck_failed(where: str, tmp_path: Path) -> None:
    hyper = Hyper(where, FatalError("a bug"))
    left = [False, False, True]  # the first sees the space, the second trains

    def build(hp: Any) -> Any:
        hyper.where = where if left.pop(0) else "nowhere"
        return Hyper.build(hyper, hp)

    hyper.build = build
    tuner = make("GridSearch", hyper, tmp_path, executions_per_trial=2)
    full = ended(tmp_path, tuner, FatalError)
    first, second = run_of(full, "0/execution0"), run_of(full, "0/execution1")
    assert (first["state"], first["status"]) == ("finished", "clean")
    assert_failed(full, "0/execution1", "FatalError", "a bug")
    assert second["status"] == ("unwatched" if where == "build" else "clean")
    assert full["searches"][0]["trials"] == 1


def test_what_went_bad_before_stays_bad(tmp_path: Path) -> None:
    class Bad(Hyper):
        def build(self, hp: Any) -> Any:
            hp.Int("n", 0, 3)
            return linear(1e8)

    tuner = make("GridSearch", Bad("after", FatalError("a bug")), tmp_path)
    full = ended(tmp_path, tuner, FatalError)
    assert_failed(full, "0/execution0", "FatalError", "a bug")
    run = run_of(full, "0/execution0")
    assert (run["status"], run["onset"]["step"] > 0) == ("score_lost", True)
    verdict = full["searches"][0]["verdict"]
    assert verdict.startswith("1 of 1 trials went bad (1 score lost).")
    assert "The search was aborted." in verdict


def test_the_search_goes_on_where_it_is_said_to(tmp_path: Path) -> None:
    hyper = Hyper("after", FatalError("a bug"))
    tuner = make("RandomSearch", hyper, tmp_path, max_trials=2)
    full = ended(tmp_path, tuner, FatalError)
    assert "overwrite=False to go on" in full["searches"][0]["aborted"]["fix"]
    tuner = make("RandomSearch", Hyper("nowhere"), tmp_path, max_trials=2)
    search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    full = overview(tmp_path / "log")
    (entry,) = full["searches"]
    assert (entry["aborted"], entry["trials"]) == (None, 2)
    assert entry["verdict"] == "No trial went bad."


# --- Ctrl-C -----------------------------------------------------------------------


class Interrupting(keras.callbacks.Callback):
    """Is interrupted in a step, or a hook."""

    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__()
        self.error = error
        setattr(self, hook, self.interrupt)

    def interrupt(self, *args: Any, **kwargs: Any) -> None:
        raise self.error

    def __deepcopy__(self, memo: Any) -> Any:
        return self


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end", "on_train_begin"])
def test_a_search_that_is_interrupted_is_no_finished_one(
    hook: str, tmp_path: Path
) -> None:
    tuner = make("RandomSearch", Hyper("nowhere"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupting = Interrupting(hook, KeyboardInterrupt())
        search(
            tuner, NanWatch(tmp_path / "log", experiments=0), interrupting, batch_size=32
        )
    full = overview(tmp_path / "log")
    run = run_of(full, "0/execution0")
    assert (run["state"], run["error_type"]) == ("failed", "KeyboardInterrupt")
    (entry,) = full["searches"]
    assert entry["aborted"]["message"] == "KeyboardInterrupt"
    assert "interrupted by hand" in entry["aborted"]["fix"]
    assert "overwrite=False" in entry["aborted"]["fix"]
    assert "1 was interrupted by hand. The search was interrupted." in entry["verdict"]
    for text in shown(full):
        assert "it was interrupted by hand (KeyboardInterrupt)" in text or (
            '"failure":"KeyboardInterrupt"' in text
        )


@pytest.mark.parametrize("where", ["build", "after"])
def test_it_may_be_interrupted_anywhere(where: str, tmp_path: Path) -> None:
    hyper = Hyper(where, KeyboardInterrupt(), at=1)
    full = ended(tmp_path, make("GridSearch", hyper, tmp_path), KeyboardInterrupt)
    assert_failed(full, "1/execution0", "KeyboardInterrupt", "")
    assert run_of(full, "0/execution0")["state"] == "finished"


def test_a_program_that_exits_is_no_finished_search(tmp_path: Path) -> None:
    hyper = Hyper("after", SystemExit(3))
    full = ended(tmp_path, make("GridSearch", hyper, tmp_path), SystemExit)
    assert_failed(full, "0/execution0", "SystemExit", "3")


# --- What stays silent ------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), FailedTrialError("no")])
@pytest.mark.parametrize("where", ["build", "before", "after"])
def test_what_kerastuner_catches_ends_no_search(
    error: Exception, where: str, tmp_path: Path
) -> None:
    tuner = make("GridSearch", Hyper(where, error, at=1), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NanWatchWarning)
        search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    full = overview(tmp_path / "log")
    (entry,) = full["searches"]
    assert (entry["aborted"], entry["trials"]) == (None, 2)
    assert run_of(full, "1/execution0")["tuner_status"] == "FAILED"
    # It says why by itself: no callbacks were dropped.
    assert [r["unwatched_text"] for r in full["runs"]] == [None, None]
    assert "Why:" not in entry["verdict"]


def test_a_search_without_the_callback_is_let_be(tmp_path: Path) -> None:
    NanWatch(tmp_path / "log", experiments=0)
    tuner = make("GridSearch", Hyper("after", FatalError("a bug")), tmp_path)
    with pytest.raises(FatalError, match="a bug"):
        search(tuner, batch_size=32)
    assert not (tmp_path / "log").exists()
    assert not {"on_trial_end", "on_search_end"} & set(vars(tuner))


def test_a_log_that_cannot_be_written_changes_no_error(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    tuner = make("GridSearch", Hyper("build", FatalError("a bug")), tmp_path)
    with pytest.raises(FatalError, match="a bug"), pytest.warns(NanWatchWarning):
        search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    tuner = make("GridSearch", Hyper("build", FatalError("a bug")), tmp_path / "b")
    with warnings.catch_warnings(), pytest.raises(FatalError, match="a bug"):
        warnings.simplefilter("error", NanWatchWarning)
        search(tuner, NanWatch(tmp_path / "log" / "b", experiments=0), batch_size=32)


@pytest.mark.parametrize("strict", [False, True])
def test_what_cannot_be_told_ends_no_search(
    strict: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise OSError("no words")

    monkeypatch.setattr("tb_nanwatch.wording.abort_text.before_abort", broken)
    tuner = make("GridSearch", Hyper("build", ValueError("no"), at=1), tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if strict else "always", NanWatchWarning)
        search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    assert len(tuner.oracle.trials) == 2
    said = [str(w.message) for w in caught if w.category is NanWatchWarning]
    assert ["OSError: no words" in s for s in said] == ([] if strict else [True])


# --- Callbacks that are dropped -----------------------------------------------------

PASS_ON = "model.fit(..., callbacks=callbacks)"


def heard(
    path: Path, tuner: Any, **more: Any
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Runs a search; returns the overview, the warnings, and all texts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search(tuner, NanWatch(path / "log", experiments=0), batch_size=32, **more)
    said = [str(w.message) for w in caught if w.category is NanWatchWarning]
    full = overview(path / "log")
    return full, said, shown(full)


@pytest.mark.parametrize(
    "make_tuner",
    [
        lambda path: make("RandomSearch", Hyper("drop"), path),
        lambda path: make("RandomSearch", Hyper("drop"), path, executions_per_trial=2),
        lambda path: own(path, "drop"),
        lambda path: own(path, "no training"),
    ],
    ids=["HyperModel", "executions", "run_trial", "black box"],
)
def test_callbacks_that_are_dropped_are_missed(
    make_tuner: Callable[[Path], Any], tmp_path: Path
) -> None:
    full, said, texts = heard(tmp_path, make_tuner(tmp_path))
    (sentence,) = said  # and not for each trial
    (entry,) = full["searches"]
    assert entry["trials"] > 1 and entry["by_status"] == {"unwatched": entry["trials"]}
    assert entry["verdict"].startswith(
        "No trial was watched. Why: no model.fit was given"
    )
    for text in (sentence, entry["verdict"], *texts):
        assert PASS_ON in text.replace("&#x27;", "'") and "**kwargs" in text
    for run in full["runs"]:
        assert run["unwatched_text"].startswith("it was not watched: no model.fit was")
        assert (run["state"], run["tuner_status"]) == ("finished", "COMPLETED")


def test_a_loop_of_ones_own_is_told_apart(tmp_path: Path) -> None:
    objective = keras_tuner.Objective("default_objective", "min")
    tuner = make("RandomSearch", Hyper("loop"), tmp_path, objective=objective)
    full, said, _ = heard(tmp_path, tuner, validation_data=None)
    (sentence,) = said
    for text in (sentence, full["searches"][0]["verdict"]):
        assert "A loop of the program's own is not watched" in text
        assert "was given the callbacks of the search" not in text


def test_dropped_in_some_trials_is_told_of_those(tmp_path: Path) -> None:
    tuner = make("GridSearch", Hyper("drop", at=2), tmp_path, max_trials=4)
    full, said, _ = heard(tmp_path, tuner)
    (sentence,) = said
    assert sentence.startswith("NaN Watch saw nothing of Trial #3: ")
    (entry,) = full["searches"]
    assert entry["by_status"] == {"unwatched": 2, "clean": 2}
    assert entry["verdict"].startswith(
        "No trial went bad. 2 ended without being watched. Why: no model.fit was given"
    )


@pytest.mark.parametrize(
    "make_tuner",
    [
        lambda path: make("RandomSearch", Hyper("nowhere"), path),
        lambda path: make(
            "RandomSearch", lambda hp: linear(0.01 + hp.Int("n", 0, 9)), path
        ),
        lambda path: own(path, ""),
    ],
    ids=["HyperModel", "function", "run_trial"],
)
def test_callbacks_that_are_passed_on_are_not_missed(
    make_tuner: Callable[[Path], Any], tmp_path: Path
) -> None:
    full, said, texts = heard(tmp_path, make_tuner(tmp_path))
    assert said == []
    assert "unwatched" not in full["searches"][0]["by_status"]
    assert all(r["unwatched_text"] is None for r in full["runs"])
    assert not any("Why:" in text or PASS_ON in text for text in texts)


def test_where_warnings_are_errors_the_search_goes_on(tmp_path: Path) -> None:
    tuner = make("RandomSearch", Hyper("drop"), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NanWatchWarning)
        search(tuner, NanWatch(tmp_path / "log", experiments=0), batch_size=32)
    assert len(tuner.oracle.trials) == 2
    assert len(overview(tmp_path / "log")["runs"]) == 2


def test_a_refusal_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tb_nanwatch.errors._TOLD", set())
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    tuner = make("RandomSearch", Hyper("nowhere"), tmp_path)
    full, said, texts = heard(tmp_path, tuner)
    assert len(said) == 1 and "the backend here is 'openvino'" in said[0]
    verdict = full["searches"][0]["verdict"]
    assert verdict.startswith("No trial was watched. Why: NaN Watch watches Keras 3 on")
    assert not any(PASS_ON in text for text in texts)
