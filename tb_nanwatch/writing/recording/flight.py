# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: every step around the onset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import COUNT_COLUMNS, RANGE_COLUMNS, Phase
from tb_nanwatch.writing.recording.buckets import Bucket
from tb_nanwatch.writing.recording.phase import PhaseState

Array = npt.NDArray[Any]

FLIGHT_BEFORE: Final = 64
FLIGHT_AFTER: Final = 8


@dataclass
class Flight:
    """The steps around an onset; arrays as in `schema.FlightRecord`."""

    phase: Phase
    steps: Array
    rms: Array
    full_steps: Array
    stats: Array
    counts: Array


def flight_around(phase: PhaseState, onset: int) -> Flight | None:
    """Returns the steps around an onset, None where none was kept.

    Args:
        phase: of the onset.
        onset: a step of the phase.
    """
    kept = [
        (first + i, row)
        for first, rows in phase.recent
        for i, row in enumerate(rows)
        if onset - FLIGHT_BEFORE <= first + i <= onset + FLIGHT_AFTER
    ]
    if not kept:  # a stall is known long after it began
        return None
    first, last = kept[0][0], kept[-1][0]
    looks = [look for look in phase.recent_looks if first <= look.step <= last]
    n = len(phase.probes)
    rms = np.full((len(kept), n), np.nan, np.float32)
    for i, (_, row) in enumerate(kept):
        with np.errstate(over="ignore"):
            rms[i, : len(row)] = row
    stats = np.zeros((len(looks), n, len(RANGE_COLUMNS)), np.float32)
    counts = np.zeros((len(looks), n, len(COUNT_COLUMNS)), np.int64)
    for i, look in enumerate(looks):
        bucket = Bucket.empty(look.step, n)
        bucket.add_look(look)
        finite = np.full((1, n), np.nan)
        for index, healths in look.healths.items():
            finite[0, index] = max(h.rms for h in healths)
        bucket.add_rows(finite, np.zeros((1, n), np.bool_))
        stats[i], counts[i] = bucket.stats(), bucket.counts
    return Flight(
        phase.name,
        np.array([step for step, _ in kept], np.int64),
        rms,
        np.array([look.step for look in looks], np.int64),
        stats,
        counts,
    )
