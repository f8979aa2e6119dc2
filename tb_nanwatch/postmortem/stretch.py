# SPDX-License-Identifier: Apache-2.0
"""The steps that an experiment runs, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, overload

from tb_nanwatch.postmortem.tape import Tape

# More steps than are run of a training that goes on for long, whatever its time.
_MOST_STEPS: Final = 100_000


class Stretch:
    """Steps that are run again and again.

    Args:
        tape: of the steps.
        onset: number of the failing one among them.
        after: steps behind it; where the tape ends before, it begins again.
        early: whether it begins before the failing step.
        before: the batch before the failing one, None where it was not kept.
    """

    def __init__(
        self, tape: Tape, onset: int, after: int, early: bool, before: Any = None
    ) -> None:
        self.tape, self.onset, self.early, self.before = tape, onset, early, before
        self.length = len(tape.batches)
        self._steps = onset + 1 + after

    def to_the_end(self) -> Stretch | None:
        """Returns the stretch with all planned steps, None if it has them already."""
        after = self.tape.plan.steps - self.tape.first - self.onset - 1
        after = min(after, _MOST_STEPS)
        if self.onset + 1 + after <= self._steps:
            return None
        return Stretch(self.tape, self.onset, after, self.early, self.before)

    def cycled(self) -> list[Any]:
        """Returns the batches of all steps."""
        return [self.tape.batches[n % self.length] for n in range(self._steps)]


class AlteredBatches(Sequence[Any]):
    """Batches that are altered when they are read, so that no batch is held twice."""

    def __init__(
        self, batches: Sequence[Any], alter: Callable[[Any, int], Any], first: int = 0
    ) -> None:
        self._batches, self._alter, self._first = batches, alter, first

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> AlteredBatches: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            start, _, _ = at.indices(len(self))
            return AlteredBatches(self._batches[at], self._alter, self._first + start)
        return self._alter(self._batches[at], self._first + range(len(self))[at])
