"""Plain works, the tuner does not: two real runs and two real searches, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.cli import main
from tests.tuner.searches import X, Y, good, linear, make, search, with_rates

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training by hand that works, and a search before and after its edit."""
    path = tmp_path_factory.mktemp("compare")
    keras.utils.set_random_seed(7)
    watch = NanWatch(str(path / "logs" / "plain"), hparams={"rate": 0.01})
    linear(0.01).fit(X, Y, epochs=5, batch_size=16, verbose=0, callbacks=[watch])
    for name, build in (("before", with_rates(0.01, 100.0, 200.0)), ("after", good)):
        tuner = make("GridSearch", build, path / name, project_name=name, max_trials=3)
        search(
            tuner,
            NanWatch(str(path / "logs" / name), experiments=0),
            epochs=5,
            batch_size=16,
        )
    return path / "logs"


def compare(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    assert main(["compare", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_that_works_beside_a_trial_that_went_bad(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(capsys, logs, "plain", "before/1/execution0")
    assert found["kind"] == "runs"
    assert [r["status"] for r in found["runs"]] == ["clean", "diverged"]
    rate = found["differences"][0]
    assert (rate["topic"], rate["name"], rate["first"]) == ("hparam", "rate", 0.01)
    assert rate["second"] in (100.0, 200.0)
    assert rate["setting"] == "learning_rate" and rate["likely"]
    assert {"optimizer", "loss", "model", "data", "precision"} <= set(found["alike"])
    # The first update is what tells them apart: before it, all is alike.
    assert found["parting"]["step"] == 0
    assert found["parting"]["tensors"][0]["kind"] == "weight"
    assert "Likely cause: learning rate" in found["verdict"]


def test_directories_do_as_well_and_the_terminal_says_the_same(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = logs / "before" / "1" / "execution0"
    by_name = compare(capsys, logs, "plain", "before/1/execution0")
    by_path = compare(capsys, logs / "plain", trial)
    assert [d["name"] for d in by_path["differences"]] == [
        d["name"] for d in by_name["differences"]
    ]
    assert main(["compare", str(logs / "plain"), str(trial)]) == 0
    said = capsys.readouterr().out
    assert "* rate: 0.01 against" in said
    assert "Fix: " in said and "They first differ at step 0" in said


def test_two_searches_before_and_after_the_edit(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(capsys, logs, "before", "after")
    assert found["kind"] == "searches"
    assert [(s["bad"], s["total"]) for s in found["shares"]] == [(2, 3), (0, 2)]
    assert 0 < found["p_value"] <= 1
    (change,) = found["changes"]
    assert change["first"] == 'hp.Choice("rate", [0.01, 100.0, 200.0])'
    assert found["removed"]["bad"] == [2, 2]
    assert found["removed"]["clean"] == [0, 1]
    assert compare(capsys, logs / "before", logs / "after")["shares"] == found["shares"]
    assert main(["compare", str(logs), "before", "after"]) == 0
    assert "2 of 3 trials went bad in before" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["", "plain", "nothing"], "no run, trial or search 'nothing' in the log"),
        (["", "plan", "before"], "no run, trial or search 'plan' in the log"),
        (["", "plan", "before"], "; the nearest name is 'plain'; there are also"),
        (
            ["", "befor", "aftr"],
            "'befor' in the log directory; the nearest names are 'before'",
        ),
        (["", "befor", "aftr"], ". And no run, trial or search 'aftr' in the log"),
        (["", "xyz", "after"], "; expected one of 'after', 'before', "),
        (["", "plain", "before"], "a run cannot be compared with a search"),
        (["", "plain", "plain"], "'plain' was given twice"),
        (["", ""], "holds 2 searches and 1 run without a search; expected one run or"),
        ([""], "there is no older search of"),
        (["plain", "nowhere"], "nowhere' does not exist"),
    ],
)
def test_errors_say_what_was_expected(
    logs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    first, *rest = arguments
    paths = [
        str(logs / first),
        *(rest if len(rest) == 2 else [str(logs / r) for r in rest]),
    ]
    assert main(["compare", *paths]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three searches in one log directory: two of one project, and another."""
    path = tmp_path_factory.mktemp("shared")
    for name, rates in (
        ("one", (0.01, 1e9)),
        ("one", (0.01, 0.02)),
        ("two", (0.01, 1e8)),
    ):
        tuner = make(
            *("GridSearch", with_rates(*rates), path),
            project_name=name,
            overwrite=True,
        )
        search(
            tuner, NanWatch(str(path / "logs"), experiments=0), epochs=1, batch_size=16
        )
    return path / "logs"


def test_names_that_several_searches_have(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(shared), "0/execution0", "1"]) == 2
    said = capsys.readouterr().err
    assert "'0/execution0' is a run of 2 searches; expected one of" in said
    assert "'two:0/execution0', 'one:0/execution0'" in said

    def rates(*names: str) -> list[float]:
        found = compare(capsys, shared, *names)
        return [r["hparams"]["rate"] for r in found["runs"]]

    assert rates("two:0/execution0", "two:1") == [0.01, 1e8]
    assert rates("one:1", "two:1/execution0") == [0.02, 1e8]
    found = compare(capsys, shared, "one:1", "two:1")
    assert found["names"] == ["one:1/execution0", "two:1/execution0"]
    # A project's name twice: its two newest searches, before and after.
    found = compare(capsys, shared, "one", "one")
    assert [(s["bad"], s["total"]) for s in found["shares"]] == [(1, 2), (0, 2)]
    assert main(["compare", str(shared), "two", "two"]) == 2
    assert "was given twice" in capsys.readouterr().err
    older = found["searches"][0]["search"]
    assert rates(f"{older}:0", f"{older}:1") == [0.01, 1e9]
    assert main(["compare", str(shared), "one:7", "two:1"]) == 2
    said = capsys.readouterr().err
    assert "no run, trial or search 'one:7'" in said
    assert "'one:1/execution0'" in said and "two" not in said


def test_a_trial_is_found_by_the_name_that_is_shown(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_id = compare(capsys, shared, "one:1", "two:0")
    by_name = compare(capsys, shared, "one:Trial #2", "two:#1")
    assert by_name["names"] == by_id["names"]
    assert main(["compare", str(shared), "one:Trial #9", "two:#1"]) == 2
    assert "no run, trial or search 'one:Trial #9'" in capsys.readouterr().err
