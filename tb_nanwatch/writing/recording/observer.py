# SPDX-License-Identifier: Apache-2.0
"""The interface between the probes of a backend and the recorder: what they report."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import Kind, Phase, Probe
from tb_nanwatch.writing.recording.health import Health

# The largest limit: an infinite sum is always above it. It may be mere overflow, but
# only a full look can tell.
NO_LIMIT: Final = float(np.finfo(np.float32).max)
# Has the next step looked at.
LOOK_NEXT: Final = -1.0

# Stands in a row for the sum of a tensor that is proved to be finite. No sum of squares
# is a negative zero, and it adds nothing to one.
NOT_SUMMED: Final = np.float32(-0.0)

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def is_summed(rows: Floats) -> Bools:
    """Returns which elements of rows hold sums and not `NOT_SUMMED`."""
    negative_zero: Bools = (rows == 0) & np.signbit(rows)
    return ~negative_zero


class Expectation(NamedTuple):
    """Decides by its row of sums whether one of the next steps is looked at in full.

    Attributes:
        limit: a step whose row sums up to more, or to NaN, is looked at in full;
            a negative limit has the next step looked at whatever it brings.
        bad: [columns] those known to be non-finite. While there are any, a step is
            looked at only where a column went bad or became finite again.
    """

    limit: float
    bad: Bools

    def stands_out(self, row: Floats) -> bool:
        """Returns whether a step with this row, [columns], has to be looked at."""
        if self.limit < 0:
            return True
        with np.errstate(over="ignore", invalid="ignore"):
            total = row[~self.bad].sum(dtype=np.float64)
        if not self.bad.any():
            return not total <= self.limit  # nor is NaN
        changed = np.isfinite(row) == self.bad
        return bool(changed.any() or total > self.limit)

    def is_met_by(self, rows: Floats) -> bool:
        """Returns whether no step stands out of those with these rows, [steps, columns].

        It is quick where all is finite, as in a healthy training; where something is
        known to be bad, each row is asked of its own.
        """
        if self.limit < 0 or self.bad.any():
            return not any(map(self.stands_out, rows))
        with np.errstate(over="ignore", invalid="ignore"):
            return bool((rows.sum(axis=1, dtype=np.float64) <= self.limit).all())


@dataclass
class Layout:
    """The probes of one trace of the step.

    Attributes:
        phase: of the step.
        probes: in causal order.
        columns: for each probe its column in the ring; two probes of one and the
            same tensor share a column, -1 for a tensor that cannot be non-finite.
        sources: for each probe its place among the tensors that are observed.
        num_columns: columns of the ring, without that of the batch size.
        has_batch: whether the ring's last column is the batch size.
    """

    phase: Phase
    probes: list[Probe]
    columns: list[int]
    sources: list[int]
    num_columns: int
    has_batch: bool

    @functools.cached_property
    def sizes(self) -> tuple[npt.NDArray[np.float64], Bools]:
        """The number of elements of each probe's tensor, from its static shape.

        Returns:
            [probes] number of elements, or of those of one example where the batch size
            varies and is known; NaN where the shape does not tell. [probes] whether it
            is of one example.
        """
        sizes = np.full(len(self.probes), np.nan)
        per_example = np.zeros(len(self.probes), np.bool_)
        for i, probe in enumerate(self.probes):
            rest = probe.shape[1:]
            if None not in probe.shape:
                sizes[i] = math.prod(d or 0 for d in probe.shape)
            elif self.has_batch and None not in rest:
                sizes[i] = math.prod(d or 0 for d in rest)
                per_example[i] = True
        return sizes, per_example

    def sums(self, row: Floats) -> Iterator[tuple[Kind, str, float]]:
        """Yields kind, name and half sum of squares of each probe that has one in `row`."""
        summed = is_summed(row)
        for probe, column in zip(self.probes, self.columns, strict=True):
            if column >= 0 and summed[column]:
                yield probe.kind, probe.name, float(row[column])


class Observer(Protocol):
    """The receiver of the probes' reports. Calls may come from several threads."""

    def observe(
        self,
        layout: Layout,
        replica: int,
        step: int,
        tensors: Sequence[npt.NDArray[Any] | Health],
        *,
        spent: float = 0.0,
    ) -> Expectation:
        """Receives the tensors of a step that needs a full look.

        Args:
            layout: what the tensors stand for.
            replica: whose step it is.
            step: of the layout's phase.
            tensors: the observed ones; of one that was measured where it was met, and is
                no kernel, its health.
            spent: seconds that it took to have them.
        """

    def is_onset(self, phase: Phase, step: int, replica: int) -> bool:
        """Returns whether the run's fault began at the step that was just observed."""

    def rows(self, layout: Layout, replica: int, first_step: int, rows: Floats) -> None:
        """Receives the rows of consecutive steps since the last.

        Args:
            layout: what the columns stand for.
            replica: that wrote them.
            first_step: the step of the first row.
            rows: [steps, columns] half sums of squares, `NOT_SUMMED` where a tensor was
                proved to be finite instead.
        """
