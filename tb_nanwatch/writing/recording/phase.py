# SPDX-License-Identifier: Apache-2.0
"""The state of one phase of a training, and the conversion of rows of sums into readings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import Phase, Probe
from tb_nanwatch.writing.recording.buckets import Bucket, FullLook, bucket_end
from tb_nanwatch.writing.recording.observer import Layout, is_summed

Array = npt.NDArray[Any]


@dataclass
class PhaseState:
    """What is known of one phase."""

    name: Phase
    probes: list[Probe] = field(default_factory=list)
    index: dict[tuple[str, str], int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    bad_when_looked_at: dict[int, bool] = field(default_factory=dict)
    looks: dict[int, FullLook] = field(default_factory=dict)
    # Rows that not every replica has handed over yet: step to replica to row.
    waiting: dict[int, dict[int, tuple[Array, Array]]] = field(default_factory=dict)
    bucket: Bucket | None = None
    closed: list[Bucket] = field(default_factory=list)
    # The last readings of the rings: first step and rows.
    recent: deque[tuple[int, Array]] = field(default_factory=deque)
    recent_looks: deque[FullLook] = field(default_factory=lambda: deque(maxlen=256))
    steps: int = 0
    last_look: int = -1
    look_seconds: float = 0.0
    looked_at: float = 0.0

    def indices(self, probes: Sequence[Probe]) -> tuple[list[int], bool]:
        """Returns the indices of probes among all probes of the phase, and whether any is new."""
        found, known = [], len(self.probes)
        for probe in probes:
            key = (probe.kind, probe.name)
            if key not in self.index:
                self.index[key] = len(self.probes)
                self.probes.append(probe)
            found.append(self.index[key])
        if self.bucket is not None:
            self.bucket.widen(len(self.probes))
        return found, len(self.probes) > known

    def bucket_end(self, bucket: Bucket) -> int:
        """Returns the last step that goes into a bucket."""
        if self.name == "train":
            return bucket_end(bucket.start)
        # A bucket ends with a pass: `Recorder.end_validation` closes it.
        return bucket.start + (1 << 40)

    def whole_steps(
        self, replica: int, replicas: int, first: int, rms: Array, bad: Array
    ) -> Iterator[tuple[int, Array, Array]]:
        """Yields first step, root mean squares and badness of steps that all replicas know.

        The mean squares of replicas are averaged.

        Args:
            replica: whose rows these are.
            replicas: how many there are.
            first: step of the first row.
            rms, bad: [steps, probes].
        """
        if replicas == 1:
            yield first, rms, bad
            return
        for i in range(len(rms)):
            parts = self.waiting.setdefault(first + i, {})
            parts[replica] = (rms[i], bad[i])
        for step in sorted(s for s, p in self.waiting.items() if len(p) >= replicas):
            waiting = self.waiting.pop(step).values()
            mean = np.sqrt(np.mean([r**2 for r, _ in waiting], axis=0))
            yield step, mean[None], np.any([b for _, b in waiting], 0)[None]

    def fill(self, first: int, rms: Array, bad: Array, skipped: Array) -> list[Bucket]:
        """Adds rows of consecutive steps to buckets; returns those that are full by it.

        Args:
            first: step of the first row.
            rms, bad: [steps, probes].
            skipped: [steps] whether the optimizer skipped each.
        """
        full: list[Bucket] = []
        position = 0
        while position < len(rms):
            start = first + position
            if self.bucket is None:
                self.bucket = Bucket.empty(start, len(self.probes))
            bucket, end = self.bucket, self.bucket_end(self.bucket)
            if start > end:  # steps in between were overwritten before they were read
                full += self.close()
                continue
            n = min(len(rms) - position, end - start + 1)
            part = slice(position, position + n)
            bucket.add_rows(rms[part], bad[part])
            bucket.skipped += int(skipped[part].sum())
            bucket.end = start + n - 1
            for step in sorted(s for s in self.looks if start <= s < start + n):
                look = self.looks.pop(step)
                bucket.add_look(look)
                self.recent_looks.append(look)
            position += n
            if bucket.end >= end:
                full += self.close()
        return full

    def close(self) -> list[Bucket]:
        """Closes the open bucket; returns it, or nothing where it holds no step."""
        bucket, self.bucket = self.bucket, None
        if bucket is None or bucket.end < bucket.start:
            return []
        self.closed.append(bucket)
        return [bucket]

    def keep_recent(self, first: int, readings: Array, needed: int) -> None:
        """Keeps readings for the flight recorder, and drops those before `needed`.

        Args:
            first: step of the first reading.
            readings: [steps, probes] root mean squares; infinite where bad.
            needed: the earliest step that may still be asked for.
        """
        self.recent.append((first, readings))
        while self.recent[0][0] + len(self.recent[0][1]) <= needed:
            self.recent.popleft()

    def root_mean_squares(
        self, layout: Layout, indices: Sequence[int], rows: Array
    ) -> tuple[Array, Array]:
        """Returns [steps, all probes of the phase] root mean squares and badness.

        A root mean square is NaN where it is unknown, the tensor is empty, or it was not
        summed, being proved to be finite.
        """
        rms = np.full((len(rows), len(self.probes)), np.nan)
        bad = np.zeros(rms.shape, np.bool_)
        columns = np.array(layout.columns)
        watched = np.flatnonzero(columns >= 0)
        sizes, per_example = layout.sizes
        # Where the shapes do not tell the size, the last full look does.
        looked = [self.sizes.get(i, 0) for i in indices]
        size = np.where(np.isnan(sizes), looked, sizes)[watched][None]
        if layout.has_batch:
            batch = rows[:, -1:].astype(np.float64)
            size = np.where(per_example[watched], size * batch, size)
        places = np.array(indices)[watched]
        halves = rows[:, columns[watched]]
        with np.errstate(invalid="ignore", divide="ignore"):
            roots = np.sqrt(2.0 * halves.astype(np.float64) / size)
        rms[:, places] = np.where(is_summed(halves), roots, np.nan)
        bad[:, places] = ~np.isfinite(halves)
        return rms, bad

    def correct_by_looks(self, first: int, rms: Array, bad: Array) -> None:
        """Corrects consecutive rows by the full looks at some of their steps.

        What is not summed is finite where all sums are. In other steps it is as it was
        when last looked at: a step in which a sum becomes bad, or good again, is looked at.

        Args:
            first: step of the first row.
            rms, bad: [steps, probes], changed in place.
        """
        floats = np.array([_is_float(probe) for probe in self.probes], np.bool_)
        unknown: Array = np.isnan(rms) & ~bad & floats[None]
        any_bad = np.asarray(bad.any(axis=1))
        for i in range(len(rms)):
            look = self.looks.get(first + i)
            for index, healths in look.healths.items() if look else ():
                is_bad = any(h.num_bad for h in healths)
                self.bad_when_looked_at[index] = is_bad
                if not is_bad and (bad[i, index] or unknown[i, index]):
                    # The sum overflowed, though every element is finite; or there was none.
                    bad[i, index], rms[i, index] = False, max(h.rms for h in healths)
            if any_bad[i]:
                for index in np.flatnonzero(unknown[i]).tolist():
                    bad[i, index] = self.bad_when_looked_at.get(index, False)


def _is_float(probe: Probe) -> bool:
    return not probe.dtype.startswith(("bool", "int", "uint"))
