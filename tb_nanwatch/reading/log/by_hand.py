# SPDX-License-Identifier: Apache-2.0
"""Searches without a tuner: runs with hyperparameters below one directory; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import Search

# Fewer runs than this are not compared with one another.
_MIN_RUNS: Final = 2
_PREFIX: Final = "by-hand:"
# The name of runs that stand in the log directory itself.
_UNNAMED: Final = "Runs with hparams="


def gather(sessions: Sequence[Session]) -> None:
    """Groups runs that were given `hparams=`: those below one directory become one search.

    Runs of a hand-written loop, Optuna or Ray are then compared like a tuner's trials. The
    objective is the score of these runs, where all are judged by the same.

    Args:
        sessions: in order of their start; what they belong to is set.
    """
    places: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        if session.status.search is None and session.status.hparams:
            places[session.run.rpartition("/")[0]].append(session)
    for place, group in places.items():
        if len({(s.run, s.nth) for s in group}) < _MIN_RUNS:
            continue
        scores = {
            (s.status.score.name, s.status.score.direction)
            for s in group
            if s.status.score
        }
        name, direction = next(iter(scores)) if len(scores) == 1 else (None, None)
        search = Search(
            id=f"{_PREFIX}{place}",
            name=place or _UNNAMED,
            objective=name,
            direction=direction,
            started=group[0].status.started,
        )
        for session in group:
            session.by_hand = search
