"""The demo's programs run alone, and a second run starts new searches beside the old."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.postmortem.capsule import Capsule
from tests.support.forks import Program
from tests.support.share import THOROUGH

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[2] / "demo"


# How a program is run as on a machine with a GPU, where Keras has XLA compile by default.
AS_GPU = ("-m", "tests.support.as_gpu")
# That takes a search with its experiments eight times as long: `make thorough` does it.
SECOND = AS_GPU if THOROUGH else ()


# As many of the wide search's trials as show its threshold; `make thorough` makes them all.
TRIALS = ("TRIALS = 24", "TRIALS = 24" if THOROUGH else "TRIALS = 16")


def environment(invocation: str) -> dict[str, str]:
    return {"DEMO_INVOCATION": invocation, "PYTHONPATH": str(DEMO.parent)}


def start(program: str, home: Path, invocation: str, how: Sequence[str] = ()) -> Program:
    arguments = [*how, str(home / "demo" / program)]
    output = home / f"{program} {invocation}"
    return Program(arguments, output, environment(invocation), home)


def run(program: str, home: Path, invocation: str, how: Sequence[str] = ()) -> str:
    started = start(program, home, invocation, how)
    assert started.end(600) == 0, started.printed
    return started.printed


def report(logs: Path) -> Any:
    command = Path(sys.executable).with_name("tb-nanwatch")
    done = subprocess.run(
        [command, "report", logs, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the programs: they log beside themselves."""
    ignored = shutil.ignore_patterns("logs", "tuners", "__pycache__")
    shutil.copytree(DEMO, tmp_path / "demo", ignore=ignored)
    return tmp_path


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The searches of `make demo` by name, each with its runs and findings."""
    home = tmp_path_factory.mktemp("searches")
    ignored = shutil.ignore_patterns("logs", "tuners", "__pycache__")
    shutil.copytree(DEMO, home / "demo", ignore=ignored)
    wide = home / "demo" / "04_wide_search.py"
    text = wide.read_text(encoding="utf-8")
    assert text.count(TRIALS[0] + "\n") == 1
    wide.write_text(text.replace(*TRIALS), encoding="utf-8")
    programs = ("01_as_asked.py", "02_unscaled_data.py", "04_wide_search.py")
    # Side by side, where there is room.
    started = [start(program, home, "only") for program in programs]
    for program in started:
        assert program.end(600) == 0, program.printed
    found = {}
    for name in ("as_asked", "unscaled_adam", "unscaled_sgd", "wide_search"):
        found[name] = report(home / "demo" / "logs" / name)
        (search,) = found[name]["searches"]
        # Findings count trials, and here each trial is one run.
        assert search["trials"] == len(found[name]["runs"])
        for finding in found[name]["findings"]:
            assert finding["inside"][1] + finding["outside"][1] == search["trials"]
    return found


@pytest.mark.parametrize("name", ["as_asked", "unscaled_adam"])
def test_what_stays_finite_is_clean(searches: dict[str, Any], name: str) -> None:
    found = searches[name]
    assert found["searches"][0]["by_status"] == {"clean": 5}
    assert found["findings"] == []
    assert [r["causes"] for r in found["runs"]] == [[]] * 5


def test_unscaled_data_are_named_and_the_rate_that_they_are_too_large_for(
    searches: dict[str, Any],
) -> None:
    found = searches["unscaled_sgd"]
    bad = [r for r in found["runs"] if r["causes"]]
    assert len(bad) >= 3
    for trial in bad:
        cause = trial["causes"][0]
        assert cause["id"] in ("unscaled_inputs", "unscaled_targets", "unscaled_data")
        said = " ".join(cause["evidence"])
        assert "of the first batch lie in [" in said
        assert f"the learning rate of {trial['hparams']['learning_rate']:.3g}" in said


def test_the_wide_searchs_threshold_is_the_one_that_its_outcome_shows(
    searches: dict[str, Any],
) -> None:
    found = searches["wide_search"]
    bad = [
        r for r in found["runs"] if r["status"] in ("score_lost", "diverged", "runaway")
    ]
    clean = [r for r in found["runs"] if r not in bad]
    assert len(bad) >= 3 and len(clean) >= 8
    finding = found["findings"][0]
    assert finding["hparam"] == "learning_rate"
    (threshold,) = (
        float(x) for x in re.findall(r"learning_rate >= (\S+)", finding["condition"])
    )
    # It lies between the last value that lives and the first that dies, of the
    # optimizers that died, whatever the outcome was.
    optimizers = {r["hparams"]["optimizer"] for r in bad}
    mine = [r for r in found["runs"] if r["hparams"]["optimizer"] in optimizers]
    if len(optimizers) == 1:
        assert f"optimizer = {min(optimizers)}" in finding["condition"]
    inside = [r for r in mine if r["hparams"]["learning_rate"] >= threshold]
    assert finding["inside"] == [sum(r in bad for r in inside), len(inside)]
    assert finding["inside"][0] >= 0.75 * len(bad)
    first = min(inside, key=lambda r: r["hparams"]["learning_rate"])
    assert first in bad
    # The edit keeps what lives below it.
    limit = min(float(x) for x in re.findall(r"1e-4, ([^,)]+)", finding["edit"]))
    below = [r for r in mine if r["hparams"]["learning_rate"] < threshold]
    assert limit < first["hparams"]["learning_rate"]
    assert all(r["hparams"]["learning_rate"] <= limit for r in below if r in clean)


def test_zeros_among_the_labels_end_the_search_and_a_second_run_is_new(
    home: Path,
) -> None:
    for invocation, how in (("first", ()), ("second", SECOND)):
        said = run("03_custom_loss.py", home, invocation, how)
        assert "Number of consecutive failures exceeded the limit of 3." in said
        assert "NaN Watch: Trial #3 diverged at epoch 1, batch " in said

    found = report(home / "demo" / "logs")
    for run_ in found["runs"]:
        cause = run_["causes"][0]
        assert cause["id"] == "loss_domain"
        assert any(
            "of this batch's labels were exactly zero" in e for e in cause["evidence"]
        )
    for search in found["searches"]:
        assert (
            "3 of 3 bad trials alike: the loss left its domain, first in loss"
            in search["verdict"]
        )
        assert "no hyperparameter is to blame" in search["verdict"]
    assert found["findings"] == []
    assert len({search["search"] for search in found["searches"]}) == 2
    assert [search["trials"] for search in found["searches"]] == [3, 3]
    assert all(search["aborted"] for search in found["searches"])
    assert len(found["runs"]) == 6
    for trial in found["runs"]:
        assert trial["status"] == "diverged"
        assert trial["onset"]["epoch"] == 0
    capsules = [Capsule.read(r["postmortem"]["capsule"]) for r in found["runs"]]
    compiled = [bool(capsule.jit_compile) for capsule in capsules]
    assert sorted(compiled) == 3 * [False] + 3 * [bool(SECOND)]

    # The loss is the program's own; importing it runs no search.
    post_mortem = found["runs"][0]["postmortem"]
    assert post_mortem["own_code"] == ["relative_error"]
    done = subprocess.run(
        [Path(sys.executable).with_name("tb-nanwatch"), "replay", post_mortem["capsule"],
         "--model", "demo/03_custom_loss.py:build"],
        cwd=home, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "KerasTuner" not in done.stdout
    assert "03_custom_loss.py:17" in done.stdout
    assert "denominators" in done.stdout


def test_the_training_that_works_is_clean(home: Path) -> None:
    # As users start it, in a process that nobody has prepared.
    done = subprocess.run(
        [sys.executable, home / "demo" / "05_plain_training.py"],
        cwd=home,
        env=os.environ | environment("only"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "went bad" not in done.stdout
    (only,) = report(home / "demo" / "logs")["runs"]
    assert only["status"] == "clean"
    assert only["state"] == "finished"
    assert only["hparams"] == {"units": 64, "learning_rate": 1e-3}
