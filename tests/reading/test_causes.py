"""Causes are worked out from the full records, once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.context import RequestContext

from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.record.schema import BadTensor, Probe, SessionRecord
from tests.reading.records import a_ranges, a_status, session_id, write
from tests.support.told import as_json

CTX = RequestContext()
Read = Callable[..., Reader]


def write_bad_run(path: Path, number: int = 1, **changes: Any) -> None:
    """A run that was handed NaN: only the full records name the tensor's kind."""
    session = SessionRecord(
        session_id(number),
        0,
        train_probes=[Probe("input", "input"), Probe("activation", "dense")],
        validation_probes=[],
    )
    status = a_status(
        number,
        bad=True,
        origin=BadTensor("input", "input", num_nan=1, size=32, row=3),
        written={"session": 1, "ranges": 1},
        **changes,
    )
    write(path, session, a_ranges(number, 0, [(0, 0), (1, 40)]), status)


def test_the_overview_names_the_cause(tmp_path: Path, read: Read) -> None:
    write_bad_run(tmp_path / "bad", 1)
    write(tmp_path / "good", a_status(2))
    reader = read()
    snapshot = reader.snapshot(CTX, "")
    causes = Causes(reader).of(CTX, "", snapshot.sessions)
    assert list(causes) == [("bad", session_id(1))]
    runs = {r["run"]: r["causes"] for r in as_json(overview(snapshot, causes))["runs"]}
    assert runs["good"] == []
    assert runs["bad"][0]["id"] == "nonfinite_data"
    assert "row 3" in " ".join(runs["bad"][0]["evidence"])


def test_the_verdict_of_a_few_trials_says_what_to_mend(
    tmp_path: Path, read: Read
) -> None:
    for number in (1, 2):
        write_bad_run(tmp_path / f"000{number}" / "execution0", number)
    for number in (3, 4, 5):
        write(tmp_path / f"000{number}" / "execution0", a_status(number))
    reader = read()
    snapshot = reader.snapshot(CTX, "")
    causes = Causes(reader).of(CTX, "", snapshot.sessions)
    (search,) = as_json(overview(snapshot, causes))["searches"]
    assert (
        "2 of 5 trials went bad (2 diverged). 2 of 2 bad trials alike: NaN or Inf in the data, "
        "first in the input. Fix: Find the non-finite input values before training "
        "(np.isfinite), and drop or fill these rows. 5 trials are too few to tell whether"
    ) in search["verdict"]
    # Without their full records the cause is not known: the trials may be to blame.
    (search,) = as_json(overview(snapshot))["searches"]
    assert "Fix" not in search["verdict"]
    assert "too few to tell which hyperparameter is to blame" in search["verdict"]


def test_a_run_is_read_once(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bad_run(tmp_path / "bad")
    reader = read()
    sessions = reader.snapshot(CTX, "").sessions
    causes = Causes(reader)
    first = causes.of(CTX, "", sessions)
    monkeypatch.setattr(reader, "detail", lambda *a: pytest.fail("read again"))
    assert causes.of(CTX, "", sessions) == first
    # Going on after the onset changes nothing; another onset does.
    sessions[0].status.steps += 100
    assert causes.of(CTX, "", sessions) == first
    assert sessions[0].status.onset is not None
    sessions[0].status.onset.step += 1
    with pytest.raises(pytest.fail.Exception):
        causes.of(CTX, "", sessions)


def test_a_run_that_cannot_be_diagnosed_hides_no_other(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bad_run(tmp_path / "a", 1)
    write_bad_run(tmp_path / "b", 2)
    reader = read()
    sessions = reader.snapshot(CTX, "").sessions
    original = reader.detail

    def detail(ctx: Any, experiment: str, session: Any, kinds: Any) -> Any:
        if session.run == "a":
            raise ValueError("damaged")
        return original(ctx, experiment, session, kinds)

    monkeypatch.setattr(reader, "detail", detail)
    found = Causes(reader).of(CTX, "", sessions)
    assert found["a", session_id(1)][0].id == "unknown"
    assert found["b", session_id(2)][0].id == "nonfinite_data"
