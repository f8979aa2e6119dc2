"""Trials written by one of several processes: `python -m tests.hostile.writers LOGS FIRST N`."""

from __future__ import annotations

import sys
from pathlib import Path

from tb_nanwatch.writing.log.summary import EventWriter
from tests.reading.records import a_ranges, a_session, a_status, a_verdict, an_events

RANGES = 6


def write_trial(logs: Path, number: int) -> None:
    """One trial as it comes: a beginning, records one by one, an end, a verdict."""
    trial = f"{number:04d}"
    writer = EventWriter(str(logs / trial / "execution0"))
    writer.write(a_status(number, state="running", trial_id=trial), a_session(number))
    for seq in range(RANGES):
        writer.write(a_ranges(number, seq, [(5 * seq, 5 * seq + 4)]))
        writer.write(an_events(number, seq, seq))
    written = {"session": 1, "ranges": RANGES, "events": RANGES}
    bad = number % 3 == 0
    writer.write(a_status(number, seq=1, bad=bad, trial_id=trial, written=written))
    writer.write(a_verdict(number, score=float(number)))
    writer.close()


if __name__ == "__main__":
    first, count = int(sys.argv[2]), int(sys.argv[3])
    for number in range(first, first + count):
        write_trial(Path(sys.argv[1]), number)
