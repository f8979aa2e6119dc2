"""A real search is read while it writes, through both of TensorBoard's loaders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tb_nanwatch.reading.log.reader import Reader
from tests.live.search import BATCHES, EPOCHS, TRIALS
from tests.reading.records import CTX, LOADERS
from tests.support.forks import Program


def test_nothing_is_lost_while_others_write_beside_us(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    arguments = ["-m", "tests.live.search", str(logs), str(tmp_path / "tuner")]
    search = Program(arguments, tmp_path / "output")
    # Side by side, each on its own: one search is enough for both.
    loaded = {name: make(logs) for name, make in LOADERS.items()}
    seen_running = dict.fromkeys(loaded, 0)
    try:
        readers = {name: Reader(one.provider, max_age=0) for name, one in loaded.items()}
        while search.poll() is None:
            for name, reader in readers.items():
                loaded[name].reload()
                states = [s.status.state for s in reader.snapshot(CTX, "").sessions]
                seen_running[name] += "running" in states
            time.sleep(0.2)
        assert search.poll() == 0, search.printed
        assert all(seen_running.values()), f"not seen while it ran: {seen_running}"
        for name, reader in readers.items():
            assert_whole(loaded[name], reader)
    finally:
        search.kill()
        for one in loaded.values():
            one.close()


def assert_whole(loaded: Any, reader: Reader) -> None:
    """Everything that the search wrote is read, once."""

    def complete() -> bool:
        found = reader.snapshot(CTX, "").sessions
        done = [s for s in found if s.status.state == "finished" and s.trial is not None]
        return len(done) == TRIALS

    assert loaded.wait(complete)
    sessions = reader.snapshot(CTX, "").sessions
    assert len(sessions) == TRIALS
    bad = [b for b in range(BATCHES) if b % 2 == 0]
    for session in sessions:
        assert session.status.steps == EPOCHS * BATCHES
        assert session.status.status == "contained"
        detail = reader.detail(CTX, "", session, ("events",))
        assert detail.damage == []
        episodes = {e.id: e for r in detail.records["events"] for e in r.episodes}
        assert [
            (e.start.epoch, e.start.batch, e.tensors[0].num_nan)
            for _, e in sorted(episodes.items())
        ] == [(epoch, batch, 1) for epoch, batch in starts(bad)]
    # What the HParams callback wrote into the same directories is there too.
    hparams = loaded.provider.list_tensors(CTX, experiment_id="", plugin_name="hparams")
    runs = {s.run for s in sessions}
    assert {run for run in hparams if run in runs} == runs
    for run in runs:
        assert "_hparams_/session_start_info" in hparams[run]


def starts(bad: list[int]) -> list[tuple[int, int]]:
    """Returns where episodes begin: a bad batch right after a bad one begins none."""
    steps = [(e, b) for e in range(EPOCHS) for b in bad]
    return [
        (e, b)
        for i, (e, b) in enumerate(steps)
        if i == 0 or e * BATCHES + b != steps[i - 1][0] * BATCHES + steps[i - 1][1] + 1
    ]
