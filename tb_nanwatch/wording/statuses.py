# SPDX-License-Identifier: Apache-2.0
"""The names of a run's statuses and states, and the meaning of each status; pure.

The tab takes these words from here (frontend/generator).
"""

from __future__ import annotations

from typing import Final

from tb_nanwatch.record.schema import State, Status

STATUS_TEXT: Final[dict[str, str]] = {
    "unwatched": "unwatched",
    "clean": "clean",
    "contained": "contained",
    "stalled": "stalled",
    "score_lost": "score lost",
    "runaway": "runaway",
    "diverged": "diverged",
}
STATUS_MEANING: Final[dict[str, str]] = {
    "unwatched": "nothing was measured",
    "clean": "every watched value was finite",
    "contained": "non-finite values that reached neither loss, objective nor anything that "
    "persists",
    "stalled": "finite, but most steps were skipped and the loss scale is at its end: "
    "nothing is learnt",
    "score_lost": "the loss or the objective was non-finite; weights, slots and layer state "
    "stayed finite",
    "runaway": "finite, but loss or activations grew out of all proportion",
    "diverged": "weights, optimizer slots or layer state became non-finite",
}


def status_text(status: Status, state: State) -> str:
    """Returns a status in words; a clean run that still trains is "clean so far"."""
    is_early = status == "clean" and state == "running"
    return "clean so far" if is_early else STATUS_TEXT[status]


def outcome_text(status: Status, state: State, error: str, scored: bool) -> str:
    """Returns a status with how the run ended, where that is not simply finished.

    Args:
        status, state: of the run.
        error: the type of the exception that ended it, "" for none.
        scored: whether the tuner took a score from it although it went bad.
    """
    text = status_text(status, state)
    if state == "running" and status != "clean":
        text += ", running"
    elif state == "failed":
        text += f", failed: {error}" if error else ", failed"
    elif state == "interrupted":
        text += ", interrupted"
    return f"{text}, scored anyway" if scored else text
