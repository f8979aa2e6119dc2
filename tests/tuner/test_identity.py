"""Which search, trial, attempt and execution a run belongs to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.report import terminal
from tests.support.told import as_overview
from tests.tuner.searches import good, linear, make, overview, run_of, search, with_rates

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


def printed(full: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    return out.getvalue()


def run_search(path: Path, build: Any, log: str = "log", **more: Any) -> dict[str, Any]:
    tuner = make("RandomSearch", build, path, **more)
    search(tuner, NanWatch(path / log, experiments=0), batch_size=16, epochs=1)
    return overview(path / "log")


def test_searches_in_one_log_directory_never_mix(tmp_path: Path) -> None:
    # The same log directory and the same trial ids, three times.
    run_search(tmp_path, with_rates(1e9, 1e10), project_name="a")
    run_search(tmp_path, good, project_name="b")
    full = run_search(tmp_path, good, project_name="a", overwrite=True)
    newest, b, oldest = full["searches"]
    assert [s["name"] for s in full["searches"]] == ["a", "b", "a"]
    assert len({s["search"] for s in full["searches"]}) == 3
    assert sum(oldest["by_status"].get(s, 0) for s in ("score_lost", "diverged")) == 2
    assert newest["by_status"] == b["by_status"] == {"clean": 2}
    assert newest["cost"] is None and oldest["cost"] is not None
    assert [s["trials"] for s in full["searches"]] == [2, 2, 2]
    assert not any(r["superseded"] or r["retry"] for r in full["runs"])
    assert len({(r["run"], r["session"]) for r in full["runs"]}) == 6
    assert len({r["run"] for r in full["runs"]}) == 2


def test_a_resumed_search_appends_and_loses_nothing(tmp_path: Path) -> None:
    build = with_rates(0.01, 0.02, 0.03, 0.04)
    first = run_search(tmp_path, build, max_trials=2)
    full = run_search(tmp_path, build, max_trials=4)  # overwrite=False
    (entry,) = full["searches"]
    assert entry["trials"] == 4 and entry["by_status"] == {"clean": 4}
    assert full["runs"][:2] == first["runs"]
    assert [r["trial_id"] for r in full["runs"]] == ["0", "1", "2", "3"]
    assert {r["search"] for r in full["runs"]} == {first["searches"][0]["search"]}
    assert not any(r["superseded"] or r["retry"] for r in full["runs"])


def test_a_retry_is_shown_and_the_latest_decides(tmp_path: Path) -> None:
    rates = iter([1e9, 0.01])

    def build(hp: Any) -> Any:
        hp.Choice("rate", [1.0])
        return linear(1.0)

    class Rate(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = next(rates)

    tuner = make("RandomSearch", build, tmp_path, max_trials=1, max_retries_per_trial=2)
    watch = NanWatch(tmp_path / "log", on_nonfinite="raise", experiments=0)
    search(tuner, watch, Rate(), batch_size=8)
    full = overview(tmp_path / "log")
    first, second = full["runs"]
    assert first["status"] in ("score_lost", "diverged")
    assert (first["retry"], first["superseded"]) == (0, True)
    assert (second["status"], second["retry"], second["superseded"]) == (
        *("clean", 1, False),
    )
    # Each keeps the verdict that it was given: INVALID, to be tried again.
    assert (first["tuner_status"], second["tuner_status"]) == ("INVALID", "COMPLETED")
    (entry,) = full["searches"]
    assert (entry["trials"], entry["by_status"]) == (1, {"clean": 1})
    assert "#1 retry 1" in printed(full)
    assert "1 earlier attempt of these trials not shown" in printed(full)


@pytest.mark.parametrize("executions", [1, 2])
def test_executions_are_shown_where_there_are_several(
    executions: int, tmp_path: Path
) -> None:
    full = run_search(tmp_path, good, max_trials=1, executions_per_trial=executions)
    assert [r["run"] for r in full["runs"]] == [
        f"0/execution{k}" for k in range(executions)
    ]
    assert full["searches"][0]["trials"] == 1
    assert ("exec 1/2" in printed(full)) == ("exec 2/2" in printed(full))
    assert ("exec" in printed(full)) == (executions == 2)


def test_id_and_number_are_findable(tmp_path: Path, capsys: Any) -> None:
    tuner = make("RandomSearch", good, tmp_path)
    search(
        tuner,
        NanWatch(tmp_path / "log", experiments=0),
        batch_size=64,
        epochs=1,
        verbose=1,
    )
    said = capsys.readouterr().out
    full = overview(tmp_path / "log")
    for run in full["runs"]:
        assert f"Running Trial #{run['number']}\n" in said
        (line,) = [
            text
            for text in printed(full).splitlines()
            if text.startswith(f"  #{run['number']} ")
        ]
        assert line.split()[0] == f"#{int(run['trial_id']) + 1}"


# --- The search space -------------------------------------------------------------------


def test_types_bounds_and_conditions(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        kind = hp.Choice("kind", ["sgd", "adam"], ordered=False)
        with hp.conditional_scope("kind", ["sgd"]):
            if kind == "sgd" and hp.Boolean("heavy"):
                with hp.conditional_scope("heavy", [True]):
                    hp.Float("momentum", 0.1, 0.9, step=0.2)
        hp.Int("units", 2, 64, step=2, sampling="log")
        hp.Int("depth", 1, 9, step=2)
        hp.Float("log", 1e-4, 1e-1, sampling="log")
        hp.Float("reverse", 1e-3, 1.0, sampling="reverse_log")
        hp.Fixed("fixed", "same")
        return linear(0.01)

    full = run_search(tmp_path, build, max_trials=8)
    (entry,) = full["searches"]
    space = {h["name"]: h for h in entry["hparams"]}
    shape = {
        n: (h["type"], h["min"], h["max"], h["step"], h["sampling"])
        for n, h in space.items()
    }
    assert shape == {
        "kind": ("choice", None, None, None, None),
        "heavy": ("boolean", None, None, None, None),
        "momentum": ("float", 0.1, 0.9, 0.2, "linear"),
        "units": ("int", 2, 64, 2, "log"),
        "depth": ("int", 1, 9, 2, "linear"),
        "log": ("float", 1e-4, 1e-1, None, "log"),
        "reverse": ("float", 1e-3, 1.0, None, "reverse_log"),
        "fixed": ("fixed", None, None, None, None),
    }
    assert (space["kind"]["values"], space["kind"]["ordered"]) == (["sgd", "adam"], False)
    assert space["momentum"]["conditions"] == [
        {"name": "kind", "values": ["sgd"]},
        {"name": "heavy", "values": [True]},
    ]
    seen = set()
    for run in full["runs"]:
        values, inactive = run["hparams"], set(run["inactive"])
        sgd = values["kind"] == "sgd"
        heavy = sgd and values["heavy"]
        seen.add((sgd, heavy))
        assert isinstance(values["depth"], int) and isinstance(values["log"], float)
        # Inactive, not missing, as soon as the search knows of it.
        known = {"heavy", "momentum"} & (set(values) | inactive)
        active = ({"heavy"} if sgd else set()) | ({"momentum"} if heavy else set())
        assert active <= set(values)
        assert known - active == inactive
    assert len(seen) == 3
    # KerasTuner knows of the whole space from some trial on; it is never forgotten.
    assert set(full["runs"][-1]["hparams"]) | set(full["runs"][-1]["inactive"]) == set(
        space
    )


def test_run_names_are_those_of_the_tuner(tmp_path: Path) -> None:
    full = run_search(tmp_path, good, max_trials=1)
    assert run_of(full, "0/execution0")["trial_id"] == "0"


# --- Several trainings in one execution -------------------------------------------------


class Twice(keras_tuner.HyperModel):
    """Trains its model and then trains it on, or trains a second one."""

    def __init__(self, first: float, second: float, anew: bool) -> None:
        super().__init__()
        self.first, self.second, self.anew = first, second, anew

    def build(self, hp: Any) -> Any:
        hp.Choice("rate", [1.0])
        return linear(self.first)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        model.fit(*args, **kwargs)
        if self.anew:
            model = linear(self.second)
        else:
            model.optimizer.learning_rate = self.second
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize(
    "first, second, anew, statuses",
    [
        (0.01, 0.01, False, ("clean", "clean")),
        (0.01, 1e20, False, ("clean", "diverged")),
        (1e20, 0.01, False, ("diverged", "diverged")),
        (1e20, 0.01, True, ("diverged", "clean")),
    ],
)
def test_two_trainings_of_one_execution_are_no_retry(
    first: float, second: float, anew: bool, statuses: tuple[str, str], tmp_path: Path
) -> None:
    full = run_search(tmp_path, Twice(first, second, anew), max_trials=1)
    one, two = full["runs"]
    assert (one["run"], two["run"]) == ("0/execution0", "0/execution0")
    assert [(r["fit"], r["execution"], r["retry"]) for r in (one, two)] == [
        *((0, 0, 0), (1, 0, 0)),
    ]
    assert not one["superseded"] and not two["superseded"]
    assert (one["status"], two["status"]) == statuses
    (entry,) = full["searches"]
    worst = max(statuses, key=["clean", "diverged"].index)
    assert (entry["trials"], entry["by_status"]) == (1, {worst: 1})
    text = printed(full)
    assert "fit 1/2" in text and "fit 2/2" in text and "retry" not in text
    # Only a model that is trained on brings its weights along.
    went_on = not anew and statuses[0] == "diverged"
    assert two["inherited"] == ("diverged" if went_on else None)
    assert ("its weights come from its earlier fit" in text) == went_on
    if went_on:
        assert two["onset"]["step"] == 0 and two["causes"][0]["id"] == "inherited"
    # The score is that of the training that `fit` returned.
    verdict = "FAILED" if statuses[1] == "diverged" else "COMPLETED"
    assert (one["tuner_status"], two["tuner_status"]) == (verdict, verdict)
    assert (one["misread"], two["misread"]) == (None, None)
