"""The report's words and numbers, from hand-made records."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.diagnosis.ranking import Facts, diagnose
from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report.overview import overview as overview_of
from tb_nanwatch.reading.tab import plugin
from tb_nanwatch.record import strict_json
from tb_nanwatch.record.schema import Damage, HParam, Lineage, Position, StatusRecord
from tb_nanwatch.wording.places import position_text, tensor_text
from tests.reading.records import (
    CTX,
    STARTED,
    a_bad_tensor,
    a_search,
    a_status,
    a_verdict,
    write,
)
from tests.support.told import as_json, as_overview

Read = Callable[..., Reader]
ABORT = "RuntimeError: Number of consecutive failures exceeded the limit of 3."


def overview(reader: Reader) -> dict[str, Any]:
    return as_json(overview_of(reader.snapshot(CTX, "")))


def one_run(tmp_path: Path, read: Read, *records: Any) -> dict[str, Any]:
    write(tmp_path / "0001" / "execution0", *records)
    (run,) = overview(read())["runs"]
    return run


def test_the_keys_are_those_of_the_design(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "0001", a_status(bad=True), a_verdict(score=math.inf))
    full = overview(read())
    shown = json.loads(strict_json.dumps(in_report(as_overview(full))))
    assert list(shown) == [
        *("schema_version", "searches", "runs", "findings", "with_data")
    ]
    assert shown["schema_version"] == 1
    (search,) = shown["searches"]
    assert set(search) == {
        *("search", "tuner", "objective", "trials", "by_status", "aborted", "cost"),
        *("verdict", "answer", "purpose", "frontier", "afterwards"),
        "confirmation",
    }
    (run,) = shown["runs"]
    assert set(run) == {
        *("run", "search", "trial_id", "execution", "retry", "worker", "state"),
        *("stopped_by", "status", "tuner_status", "score", "best_step", "message"),
        *("misread", "hparams", "onset", "origin", "contained", "causes"),
        # Beyond the design:
        *(
            "number",
            "failure",
            "unwatched_text",
            "misread_text",
            "lineage",
            "inherited",
            "scalars",
            "postmortem",
            "reproduction",
            "answer",
        ),
        *("closest_call", "fit", "loss_scale", "skipped_steps"),
    }
    assert (run["loss_scale"], run["skipped_steps"]) == (None, None)
    assert run["onset"] == {"phase": "train", "step": 37, "epoch": 1, "batch": 12}
    assert run["origin"] == {
        "kind": "gradient",
        "name": "dense_2/kernel",
        "num_nan": 0,
        "num_pos_inf": 12,
        "num_neg_inf": 0,
        "op": None,
        "source": None,
    }
    assert run["score"] == "Infinity"
    (cause,) = run["causes"]
    assert set(cause) == {"id", "sure", "record", "confidence", "evidence", "fix"}
    assert run["answer"]["happened"] == "diverged at epoch 2, batch 13"
    assert run["answer"]["fix"] == cause["fix"]
    assert shown["findings"] == []


def test_a_run_is_named_by_its_directory(tmp_path: Path, read: Read) -> None:
    alone = dataclasses.replace(a_status(), trial_id=None, number=None, search=None)
    write(tmp_path, dataclasses.replace(alone, run="my fit"))
    write(tmp_path / "other", dataclasses.replace(alone, run="else"))
    names = {r["run"]: r["name"] for r in overview(read())["runs"]}
    assert names == {".": "my fit", "other": "other"}


def test_every_key_stands_in_the_documentation(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "0001", a_status(bad=True), a_verdict())
    full = overview(read())
    text = (Path(plugin.__file__).parent / "http_api.md").read_text()
    # What DESIGN's report has is not repeated there.
    design = {"run", "search", "trial_id", "execution", "retry", "stopped_by", "status"}
    design |= {"tuner_status", "score", "best_step", "message", "misread", "hparams"}
    design |= {"onset", "origin", "contained", "causes", "state", "worker"}
    for entry in (full["searches"][0], full["runs"][0]):
        for key in entry.keys() - design:
            assert f'"{key}"' in text or f"`{key}`" in text, key


def test_a_clean_run_has_no_onset_origin_or_causes(tmp_path: Path, read: Read) -> None:
    run = one_run(tmp_path, read, a_status())
    assert (run["onset"], run["origin"], run["causes"]) == (None, None, [])
    assert run["tuner_status"] is None
    assert run["status"] == "clean"
    assert run["answer"] is None
    assert run["clean_text"].startswith("All finite: ")


# --- Misread ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad, verdict, expected",
    [
        # The onset is in epoch 1.
        (True, {"score": 0.5, "best_step": 0}, "stale_score"),
        (True, {"score": 0.5, "best_step": 1}, None),
        (True, {"score": 0.5, "best_step": 2}, None),
        (True, {"score": 0.5, "best_step": None}, None),
        (True, {"score": 0.5, "best_step": 0, "tuner_status": "FAILED"}, None),
        (True, {"score": math.nan, "best_step": 0}, None),
        (True, {"score": None, "best_step": 0}, None),
        (False, {"score": 0.5, "best_step": 0}, None),
        (True, {"score": math.inf, "best_step": 0}, "infinite_score"),
        (False, {"score": -math.inf, "best_step": 0}, "infinite_score"),
        (True, {"score": math.inf, "tuner_status": "INVALID"}, None),
    ],
)
def test_misread(
    tmp_path: Path, read: Read, bad: bool, verdict: dict[str, Any], expected: str | None
) -> None:
    # That the model was damaged would be a misreading of its own: it never was.
    status = a_status(bad=bad, damage=[])
    run = one_run(tmp_path, read, status, a_verdict(**verdict))
    assert run["misread"] == expected


@pytest.mark.parametrize(
    "changes, verdict, what",
    [
        ({"damage": [Damage(1, None, ["weight"])]}, {"best_step": 1}, "weights"),
        ({"damage": [Damage(1, None, ["weight"])]}, {"best_step": 3}, "weights"),
        (
            {"damage": [Damage(1, 3, ["layer_state", "weight"])]},
            {"best_step": 2},
            "layer state and weights",
        ),
        # Finite again in that epoch; damaged later; and not at all.
        ({"damage": [Damage(1, 3, ["weight"])]}, {"best_step": 3}, None),
        ({"damage": [Damage(3, None, ["weight"])]}, {"best_step": 2}, None),
        ({"damage": [], "status": "score_lost"}, {"best_step": 2}, None),
        ({"damage": [], "status": "runaway"}, {"best_step": 2}, None),
        (
            {"damage": [Damage(1, None, ["weight"])]},
            {"best_step": 1, "tuner_status": "INVALID"},
            None,
        ),
        ({"damage": [Damage(1, None, ["weight"])]}, {"score": math.nan}, None),
        # A log that does not tell, but for the status.
        ({"damage": None}, {"best_step": 1}, "the model"),
        ({"damage": None, "recovered": True}, {"best_step": 1}, None),
        ({"damage": None, "status": "score_lost"}, {"best_step": 1}, None),
    ],
)
def test_a_score_of_a_damaged_model(
    tmp_path: Path,
    read: Read,
    changes: dict[str, Any],
    verdict: dict[str, Any],
    what: str | None,
) -> None:
    run = one_run(tmp_path, read, a_status(bad=True, **changes), a_verdict(**verdict))
    assert run["misread"] == ("damaged_score" if what else None)
    assert run["misread_text"] == (
        what
        and f"KerasTuner completed it with the score 0.5, that of epoch "
        f"{verdict['best_step'] + 1}, measured while {what} held NaN or infinite "
        "values: it compares with nothing."
    )


def test_no_verdict_no_misread(tmp_path: Path, read: Read) -> None:
    assert one_run(tmp_path, read, a_status(bad=True))["misread"] is None


# --- Searches -----------------------------------------------------------------------


def search_of(tmp_path: Path, read: Read, *runs: tuple[Any, ...]) -> dict[str, Any]:
    for i, records in enumerate(runs):
        write(tmp_path / f"{i:04d}" / "execution0", *records)
    (search,) = overview(read())["searches"]
    return search


def a_failed(number: int, kind: str, message: str) -> StatusRecord:
    return a_status(number, state="failed", error_type=kind, error_message=message)


def test_trials_are_counted_not_runs(tmp_path: Path, read: Read) -> None:
    search = search_of(
        tmp_path,
        read,
        # Two executions of one trial; the worst status is the trial's.
        (a_status(1, trial_id="A"),),
        (a_status(2, trial_id="A", execution=1, bad=True),),
        (a_status(3, trial_id="B"),),
        # A retry: only the latest counts.
        (a_status(4, trial_id="C", bad=True),),
        (a_status(5, trial_id="C", attempt=1),),
    )
    assert search["trials"] == 3
    assert search["by_status"] == {"clean": 2, "diverged": 1}
    assert search["verdict"] == (
        "1 of 3 trials went bad (1 diverged). "
        "3 trials are too few to tell which hyperparameter is to blame."
    )


@pytest.mark.parametrize(
    "runs, verdict",
    [
        ([(a_status(1),), (a_status(2),)], "No trial went bad."),
        (
            [(a_status(1),), (a_status(2, state="running"),)],
            "No trial has gone bad so far. 1 is still running.",
        ),
        (
            [(a_status(1, bad=True),), (a_status(2, bad=True, status="score_lost"),)],
            "All 2 trials went bad (1 score lost, 1 diverged).",
        ),
        (
            [(a_status(1, bad=True), a_verdict(1, best_step=0)), (a_status(2),)],
            "1 of 2 trials went bad (1 diverged); 1 of them was scored anyway.",
        ),
        (
            # The model is as it was before the stall: its scores are results.
            [(a_status(1, bad=True, status="stalled"), a_verdict(1, best_step=0))],
            "1 of 1 trials went bad (1 stalled). One",
        ),
        (
            [(a_status(1, status="contained"),), (a_status(2),)],
            "No trial went bad. 1 had non-finite values that reached neither the loss "
            "nor anything that lasts.",
        ),
        ([(a_verdict(1, tuner_status="FAILED"),)], "No trial was watched."),
        (
            # Killed before its first step was over, and ended by exceptions.
            [
                (a_status(1),),
                (a_status(2, state="running", steps=0, updated=0.0),),
                (a_failed(3, "ValueError", "no"),),
                (a_failed(4, "OSError", "x"),),
                (a_failed(5, "ValueError", "no"),),
            ],
            "No trial went bad. 2 failed with ValueError, not by going bad: no. 1 failed "
            "with OSError, not by going bad: x. 1 ended without being watched.",
        ),
    ],
)
def test_verdict(tmp_path: Path, read: Read, runs: Any, verdict: str) -> None:
    assert search_of(tmp_path, read, *runs)["verdict"].startswith(verdict)


def test_the_newest_search_comes_first_and_plain_runs_last(
    tmp_path: Path, read: Read
) -> None:
    write(tmp_path / "a", a_status(1, search=a_search(1)))
    write(tmp_path / "b", a_status(2, search=a_search(3)))
    write(tmp_path / "c", a_status(3, search=a_search(2)))
    write(tmp_path / "d", a_status(90, search=None, trial_id=None))
    full = overview(read())
    expected = ["search-3", "search-2", "search-1", ""]
    assert [s["search"] for s in full["searches"]] == expected
    assert [r["search"] for r in full["runs"]] == expected
    assert full["searches"][-1]["verdict"] == "No run went bad."


def test_bookkeeping_values_are_never_hyperparameters(tmp_path: Path, read: Read) -> None:
    hparams = [
        HParam("tuner/epochs", 2, "number"),
        HParam("lr", 0.1, "float"),
        HParam("momentum", None, "float", active=False),
    ]
    lineage = Lineage("0000", 2, 4, 1, 1)
    write(tmp_path / "run", a_status(hparams=hparams, lineage=lineage))
    full = overview(read())
    (run,) = full["runs"]
    assert run["hparams"] == {"lr": 0.1}
    assert run["inactive"] == ["momentum"]
    assert run["lineage"]["trial_id"] == "0000"
    (search,) = full["searches"]
    assert [h["name"] for h in search["hparams"]] == ["lr", "momentum"]
    assert "value" not in search["hparams"][0]


# --- Aborted searches ---------------------------------------------------------------


def failed(number: int, **changes: Any) -> tuple[Any, ...]:
    verdict = a_verdict(number, tuner_status="FAILED", score=None, **changes)
    return (a_status(number, bad=True), verdict)


def test_an_aborted_search_names_the_trials_and_what_to_set(
    tmp_path: Path, read: Read
) -> None:
    search = search_of(
        tmp_path,
        read,
        failed(1),
        (a_status(2), a_verdict(2)),
        failed(3),
        failed(4),
        failed(5, aborted=ABORT),
    )
    aborted = search["aborted"]
    assert aborted["trials"] == ["0003", "0004", "0005"]
    reason = "diverged at epoch 2, batch 13 (step 37): gradient of dense_2/kernel"
    assert [r.split(",", 2)[0] for r in aborted["reasons"]] == [reason.split(",")[0]] * 3
    assert all(r.startswith(reason) for r in aborted["reasons"])
    assert aborted["message"] == ABORT
    assert "max_consecutive_failed_trials=" in aborted["fix"]
    assert "overwrite=True" in aborted["fix"]
    assert "The search was aborted." in search["verdict"]


@pytest.mark.parametrize("most, advised", [(None, 24), (40, 24), (12, 12), (9, 9)])
def test_no_higher_limit_is_advised_than_there_are_trials(
    most: int | None, advised: int, tmp_path: Path, read: Read
) -> None:
    whole = a_search(1, max_consecutive_failed_trials=8, max_trials=most)
    for n in range(1, 9):
        aborted = {"aborted": ABORT} if n == 8 else {}
        status = a_status(n, bad=True, search=whole)
        verdict = a_verdict(n, tuner_status="FAILED", score=None, **aborted)
        write(tmp_path / f"{n:04d}", status, verdict)
    (search,) = overview(read())["searches"]
    assert len(search["aborted"]["trials"]) == 8
    assert f"max_consecutive_failed_trials={advised}:" in search["aborted"]["fix"]


def failing(number: int, message: str, kind: str = "ValueError") -> tuple[Any, ...]:
    return (
        a_status(number, state="failed", error_type=kind, error_message=message),
        a_verdict(number, tuner_status="FAILED", score=None),
    )


@pytest.mark.parametrize(
    "messages, said",
    [
        (["no."] * 3, "3 failed with ValueError, not by going bad: no."),
        (
            ["no", "too large", "no"],
            "3 failed with ValueError, not by going bad: no (2 of them); too large (1 of "
            "them).",
        ),
        (
            ["a", "b", "c", "d", "e", "b"],
            "6 failed with ValueError, not by going bad: b (2 of them); a (1 of them); c (1 "
            "of them); other messages (2).",
        ),
        (
            ["", "no"],
            "2 failed with ValueError, not by going bad: no message (1 of them); no (1 of "
            "them).",
        ),
        (["", ""], "2 failed with ValueError, not by going bad."),
    ],
)
def test_how_many_failed_with_which_message(
    messages: list[str], said: str, tmp_path: Path, read: Read
) -> None:
    runs = [failing(n, message) for n, message in enumerate(messages, 1)]
    search = search_of(tmp_path, read, *runs)
    assert search["verdict"] == f"No trial went bad. {said}"


def test_failures_alone_are_no_abort(tmp_path: Path, read: Read) -> None:
    search = search_of(tmp_path, read, failed(1), failed(2))
    assert search["aborted"] is None
    assert "aborted" not in search["verdict"]


def test_another_exception_is_not_blamed_on_failures_in_a_row(
    tmp_path: Path, read: Read
) -> None:
    search = search_of(tmp_path, read, failed(1, aborted="KeyboardInterrupt: "))
    assert search["aborted"]["trials"] == ["0001"]
    assert "max_consecutive_failed_trials" not in search["aborted"]["fix"]


# --- Diagnosis and wording ----------------------------------------------------------


def test_a_bad_run_has_the_cause_unknown_with_evidence() -> None:
    facts = Facts("diverged", Position("train", 37, 0, 37), a_bad_tensor())
    (cause,) = diagnose(facts)
    assert (cause.id, cause.confidence) == ("unknown", 0.0)
    assert "12 Inf of 2,048" in cause.evidence[0]
    assert cause.fix


@pytest.mark.parametrize("status", ["unwatched", "clean", "contained"])
def test_a_run_that_is_not_bad_has_no_cause(status: Any) -> None:
    assert diagnose(Facts(status)) == []


@pytest.mark.parametrize(
    "position, text",
    [
        (Position("train", 37, 0, 37), "epoch 1, batch 38 (step 37)"),
        (Position("train", 0, 0, 0), "epoch 1, batch 1 (step 0)"),
        (Position("validation", 100, 1, 4), "validation of epoch 2, batch 5 (step 100)"),
    ],
)
def test_position_text(position: Position, text: str) -> None:
    assert position_text(position) == text


@pytest.mark.parametrize(
    "changes, text",
    [
        ({}, "gradient of dense_2/kernel, 12 Inf of 2,048"),
        ({"num_nan": 3}, "gradient of dense_2/kernel, 3 NaN and 12 Inf of 2,048"),
        (
            {"num_nan": 3, "num_neg_inf": 1},
            "gradient of dense_2/kernel, 3 NaN, 12 Inf and 1 -Inf of 2,048",
        ),
        ({"kind": "loss", "name": "loss", "size": 0}, "loss, 12 Inf"),
        ({"num_pos_inf": 0}, "gradient of dense_2/kernel"),
    ],
)
def test_tensor_text(changes: dict[str, Any], text: str) -> None:
    assert tensor_text(a_bad_tensor(**changes)) == text


def test_started_orders_runs(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "b", a_status(1, started=STARTED + 2))
    write(tmp_path / "a", a_status(2, started=STARTED + 3))
    assert [r["run"] for r in overview(read())["runs"]] == ["b", "a"]
