"""A share of Keras' own tests with a NanWatch in every fit; `make peers` runs all.

And that the comparison finds what it is for: callbacks with a fault each.
"""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tests.peers.run as campaigns
from tests.peers.compare import Process, Seen, differences, load, parts, why_not
from tests.peers.processes import (
    GRAPH,
    MODES,
    NANWATCH,
    SITE,
    environment,
    pytest_command,
    run,
)
from tests.peers.run import KERAS, KNOWN, SHARE, Campaign, campaign, modules_of, unknown

HELD = json.loads(SHARE.read_text(encoding="utf-8"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        HELD["keras"] != KERAS,
        reason=f"the tests of Keras {HELD['keras']} are listed, not those of {KERAS}",
    ),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Campaign]:
    """The share in both modes."""
    # Not in the threads: pytest makes its base folder at the first call, and empties what
    # another thread has just made in it.
    folders = {mode: tmp_path_factory.mktemp("peers") for mode in MODES}

    def one(mode: str) -> Campaign:
        ids = HELD["tests"][mode]
        return campaign(mode, [modules_of(ids)], ids, folders[mode], NANWATCH, jobs=1)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(MODES, pool.map(one, MODES), strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_share(results: dict[str, Campaign], mode: str) -> None:
    ids, result = HELD["tests"][mode], results[mode]
    assert sorted(result.watched.tests) == ids
    # What is not watched proves nothing: the list holds tests that are.
    assert {fit: why for fit, why in reasons(result) if why} == {}
    known = json.loads(KNOWN.read_text(encoding="utf-8")).get(mode, {})
    listed = {test: what for test, what in known.items() if test in ids}
    assert unknown({mode: result.summary()}, {mode: listed}) == []


def reasons(result: Campaign) -> list[tuple[str, str]]:
    return [(f"{name} {fit['fit']}", why_not(fit)) for name, fit in result.fits()]


def test_the_plugin_changes_no_outcome(
    results: dict[str, Campaign], tmp_path: Path
) -> None:
    # An id with the address of a function cannot be asked for.
    ids = [name for name in HELD["tests"][GRAPH] if "0x" not in name]
    out = tmp_path / "plain.xml"
    subprocess.run(
        pytest_command([f"--junitxml={out}", *ids]),
        cwd=SITE,
        env=environment(),
        capture_output=True,
        timeout=300,
    )
    plain = {
        f"{case.get('classname')}.{case.get('name')}": case.find("failure") is None
        for case in ET.parse(out).iter("testcase")
    }
    ours = {
        name.replace(".py::", "::").replace("/", ".").replace("::", "."): test.outcomes
        for name, test in results[GRAPH].first.tests.items()
        if name in ids
    }
    assert plain.keys() == ours.keys()
    passed = {name: outcomes == ["call passed"] for name, outcomes in ours.items()}
    assert passed == plain


# --- It can fail ----------------------------------------------------------------

VICTIM = "keras/src/callbacks/csv_logger_test.py::CSVLoggerTest::test_CSVLogger"
FAULTS = {
    "Raises": {"outcome", "error"},
    "Nudges": {"weights", "history"},
    "Draws": {"random"},
    "Rewrites": {"history"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Process]:
    folder = tmp_path_factory.mktemp("faults")

    def one(name: str) -> Process:
        callback = f"tests.peers.faults:{name}" if name else ""
        out = folder / f"{name or 'plain'}.jsonl"
        return load(run([VICTIM], out, callback=callback))

    names = ["", *FAULTS, "Blind"]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(runs: dict[str, Process], fault: str) -> None:
    found = differences(runs[""].tests[VICTIM], runs[fault].tests[VICTIM])
    assert FAULTS[fault] <= set(parts(found)), found


def test_watching_nothing_is_no_proof(runs: dict[str, Process]) -> None:
    blind = runs["Blind"].tests[VICTIM]
    assert differences(runs[""].tests[VICTIM], blind) == {}
    assert {why_not(fit) for fit in blind.fits.values()} == {"no log"}


def fit(**changes: Any) -> dict[str, Any]:
    state = {"weights": {"0 w": "a"}, "optimizer": {}, "history": {}, "random": {}}
    seen = {"warnings": [], "state": "finished", "steps": 2, "probes": 9}
    what = {"fit": 0, "model": "Sequential", "jit": False, "eager": False}
    return what | {"error": None, "steps": 2, "state": state, "watched": seen} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"warnings": ["NaN Watch stopped watching"]},
        {"state": "running"},
        {"steps": 0},
        {"steps": 1},
        {"probes": 0},
    ],
)
def test_a_fit_that_is_not_watched_whole_is_no_proof(changes: dict[str, Any]) -> None:
    assert why_not(fit()) == ""
    assert why_not(fit(watched=fit()["watched"] | changes)) != ""


def test_what_differs_without_is_left_out() -> None:
    other = fit(state=fit()["state"] | {"weights": {"0 w": "b"}})
    same, differs = (
        Process({"t": Seen(["call passed"], [""], {0: f})}) for f in (fit(), other)
    )
    unsteady = Campaign(GRAPH, same, differs, differs)
    unsteady.compare()
    assert (unsteady.found, list(unsteady.unsteady), unsteady.proofs()) == ({}, ["t"], [])
    steady = Campaign(GRAPH, same, same, differs)
    steady.compare()
    assert (list(steady.found), steady.unsteady, len(steady.proofs())) == (["t"], {}, 1)


@pytest.mark.parametrize("weights", ["a", "b"])
def test_plain_runs_are_compared_where_the_watched_one_differs(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = fit()["state"] | {"weights": {"0 w": weights}}
    plain, watched = (
        Process({"m.py::t": Seen(["call passed"], [""], {0: f})})
        for f in (fit(), fit(state=state))
    )
    asked = []

    def run_one(files: Any, out: Path, **how: Any) -> Path:
        asked.append(out.stem)
        return out

    monkeypatch.setattr(campaigns, "run", run_one)
    monkeypatch.setattr(
        campaigns, "load", lambda out: watched if out.stem.endswith("W") else plain
    )
    result = campaign(GRAPH, [["m.py"]], ["m.py::t"], tmp_path, NANWATCH, jobs=1)
    assert asked[:3] == (["0A", "0W"] if weights == "a" else ["0A", "0W", "0B"])
    assert list(result.found) == ([] if weights == "a" else ["m.py::t"])


def test_a_known_difference_that_is_gone_is_a_complaint() -> None:
    same = Process({"t": Seen(["call passed"], [""], {0: fit()})})
    gone = Campaign(GRAPH, same, same, same)
    gone.compare()
    (complaint,) = unknown({GRAPH: gone.summary()}, {GRAPH: {"t": ["weights"]}})
    assert "differs in nothing, known is ['weights']" in complaint
    assert unknown({GRAPH: gone.summary()}, {}) == []
