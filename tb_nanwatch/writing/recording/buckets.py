# SPDX-License-Identifier: Apache-2.0
"""Merges steps into buckets that widen as training goes on; no extreme is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import COUNT_COLUMNS, RANGE_COLUMNS
from tb_nanwatch.writing.recording.health import Health

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

# A bucket is at most 1/32 of the steps before it: 32 single steps, then 22 buckets
# for each doubling, 363 for a million steps.
_STEPS_PER_WIDTH: Final = 32


def bucket_end(start: int) -> int:
    """Returns the last step of the bucket that begins at step `start`."""
    return start + max(1, start // _STEPS_PER_WIDTH) - 1


@dataclass
class FullLook:
    """One step in which every probe's tensor was measured.

    Attributes:
        step: of the phase.
        healths: for each probe index the healths, one of each replica that looked.
        updates: update-to-weight ratios by probe index, where the step before was looked
            at, too; replicas hold the same weights, so they are the first one's.
    """

    step: int
    healths: dict[int, list[Health]]
    updates: dict[int, float] = field(default_factory=dict)


@dataclass
class Bucket:
    """The merged ranges of consecutive steps; arrays are [probes, ...]."""

    start: int
    end: int
    low: Floats
    high: Floats
    rms_min: Floats
    rms_max: Floats
    squares: Floats
    finite_steps: Floats
    zeros: Floats
    elements: Floats
    counts: npt.NDArray[np.int64]
    bad_steps: npt.NDArray[np.int64]
    last: Floats  # root mean squares of the last step
    updates: Floats  # largest update-to-weight ratios
    measured: int = 0
    skipped: int = 0  # steps that the optimizer skipped

    @classmethod
    def empty(cls, start: int, probes: int) -> Bucket:
        """Returns a bucket without steps."""
        nan, zero = np.full(probes, np.nan), np.zeros(probes)
        return cls(
            start,
            start - 1,
            nan.copy(),
            nan.copy(),
            nan.copy(),
            nan.copy(),
            zero.copy(),
            zero.copy(),
            zero.copy(),
            zero.copy(),
            np.zeros((probes, len(COUNT_COLUMNS)), np.int64),
            np.zeros(probes, np.int64),
            nan.copy(),
            nan.copy(),
        )

    def widen(self, probes: int) -> None:
        """Makes room for probes that appeared later."""
        new = probes - len(self.low)
        if new <= 0:
            return
        more = Bucket.empty(self.start, new)
        for name in (
            *("low", "high", "rms_min", "rms_max", "squares", "finite_steps"),
            *("zeros", "elements", "counts", "bad_steps", "last"),
            "updates",
        ):
            setattr(
                self, name, np.concatenate([getattr(self, name), getattr(more, name)])
            )

    def add_rows(self, rms: Floats, bad: npt.NDArray[np.bool_]) -> None:
        """Merges consecutive steps, one or more.

        Args:
            rms: [steps, probes], finite or NaN where it is not known.
            bad: [steps, probes], where the probe was non-finite.
        """
        known = ~np.isnan(rms)
        self.end += len(rms)
        self.rms_min = np.fmin(self.rms_min, np.fmin.reduce(rms, axis=0))
        self.rms_max = np.fmax(self.rms_max, np.fmax.reduce(rms, axis=0))
        self.squares += np.square(np.where(known, rms, 0.0)).sum(axis=0)
        self.finite_steps += known.sum(axis=0)
        self.bad_steps += bad.sum(axis=0)
        self.last = rms[-1].copy()

    def add_look(self, look: FullLook) -> None:
        """Merges a full look; its step's row is added apart."""
        self.measured += 1
        for index, ratio in look.updates.items():
            self.updates[index] = np.fmax(self.updates[index], ratio)
        for index, healths in look.healths.items():
            for h in healths:
                self.low[index] = np.fmin(self.low[index], h.min)
                self.high[index] = np.fmax(self.high[index], h.max)
                self.zeros[index] += h.num_zero
                self.elements[index] += h.size
                self.counts[index] += (h.num_nan, h.num_pos_inf, h.num_neg_inf)

    def stats(self) -> npt.NDArray[np.float32]:
        """Returns [probes, len(RANGE_COLUMNS)], NaN where nothing was measured.

        float64 values beyond float32 are clipped to its largest finite number.
        """
        top = float(np.finfo(np.float32).max)
        with np.errstate(invalid="ignore", divide="ignore"):
            rms = np.sqrt(self.squares / self.finite_steps)
            columns = {
                "min": self.low,
                "max": self.high,
                "rms_min": self.rms_min,
                "rms_max": self.rms_max,
                "rms": rms,
                "zero_fraction": self.zeros / self.elements,
                "update_ratio": self.updates,
            }
            stacked = np.stack([columns[c] for c in RANGE_COLUMNS], axis=1)
            clipped: npt.NDArray[np.float32] = np.clip(stacked, -top, top).astype(
                np.float32
            )
        return clipped
