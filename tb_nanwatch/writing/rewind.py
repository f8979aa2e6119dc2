# SPDX-License-Identifier: Apache-2.0
"""Keeps states and batches from which a training can be run again, within a byte limit.

States from before some steps, and the batches since the oldest of them. This module
decides what is kept; a backend takes the states, holds the batches, and runs them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from tb_nanwatch.postmortem.tape import Change, Tape

# By default, unless a tenth of the free memory is less.
_DEFAULT_BYTES: Final = 256 << 20
# More steps than an experiment of a usual model has time for.
MOST_STEPS: Final = 1024
# Steps after the onset whose batches are still of use: an experiment goes on with them.
AFTER_ONSET: Final = MOST_STEPS
# A state is a copy of all that changes. Copies may take this share of the time, at so
# many bytes a second: a slow machine's memory.
_COPY_SHARE: Final = 1 / 200
_BYTES_PER_SECOND: Final = 2e9
_NO_ROOM: Final = "the batches since the last state that was kept are more than rewind_bytes has room for"


def default_bytes() -> int:
    """Returns the bytes that states and batches may hold where the user does not say."""
    with contextlib.suppress(Exception):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min(_DEFAULT_BYTES, free // 10)
    return _DEFAULT_BYTES


class State(Protocol):
    """The values of all that a step can change, from between two steps."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

    def restore(self) -> None:
        """Sets each variable back to its value in this state."""


class Source(Protocol):
    """What a backend gives."""

    def state(self) -> State:
        """Returns the state of this moment."""

    def state_bytes(self) -> int:
        """Returns the bytes that a state would hold."""

    def batch_bytes(self) -> int:
        """Returns the bytes of the batch that was seen last, 0 before the first."""

    def hold(self, steps: int) -> None:
        """Sets how many of the last steps' batches are held; 0 for none."""

    def batches(self) -> list[Any]:
        """Returns the batches that are held, the last one is that of the last step."""


class Rewind:
    """Keeps states and batches from which the last steps of one training can be run again.

    Args:
        source: of states and batches.
        limit: bytes that states and batches may hold together.
        clock: monotonic seconds.

    Attributes:
        most_between: steps between two states at most, unless copies would take longer
            than their share of the time.
        why_not: why nothing can be run again, in words; empty where it can.
    """

    def __init__(
        self, source: Source, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._limit, self._clock = source, limit, clock
        self._states: dict[int, State] = {}
        self._changes: list[Change] = []
        self._capacity = 0
        self._interval = 1
        self.most_between = MOST_STEPS
        self._measured: tuple[int, float] | None = None
        self._until: int | None = None
        self._kept: tuple[int, list[Any]] | None = None
        self.why_not = ""

    @property
    def has_begun(self) -> bool:
        """Whether a state is kept."""
        return bool(self._states)

    @property
    def next_look(self) -> int:
        """The number of steps after which `stepped` is to be called again.

        It has begun.
        """
        if self.why_not or self._kept is not None:
            return MOST_STEPS << 32
        if self._until is not None:
            return self._until
        return max(self._states, default=-1) + self._interval

    @property
    def reach(self) -> int:
        """Steps after which the first of them can still be run again from a state."""
        return max(0, self._capacity - self._interval)

    def has_room(self, nbytes: int = 0) -> bool:
        """Returns whether two states, and so many bytes of batches, can be held.

        A second state is taken before the first may go.
        """
        return 2 * self._source.state_bytes() + nbytes <= self._limit

    def begin(self, step: int, per_call: int) -> None:
        """Keeps the state from before the first step that can be run again.

        Args:
            step: that comes next.
            per_call: steps that one call makes.
        """
        if self._states or self.why_not:
            return
        size = self._source.state_bytes()
        if not self.has_room():
            self.stop(
                f"variables and optimizer ({size:,} bytes) are more than half of "
                f"rewind_bytes={self._limit:,}"
            )
            return
        self._states[step] = self._source.state()
        self._source.hold(max(per_call, self._capacity))

    def stop(self, why: str) -> None:
        """Discards all states and batches, and keeps no more.

        Args:
            why: in words.
        """
        self.why_not = self.why_not or why
        self._states.clear()
        self._changes.clear()
        self._kept = None
        self._source.hold(0)

    def changed(self, change: Change) -> None:
        """Notes a variable that was set between two steps."""
        if not self._states or self.why_not or self._kept is not None:
            return
        self._changes.append(change)
        if sum(c.value.nbytes for c in self._changes) > self._limit // 4:
            # Weights were replaced, perhaps: what follows begins with a new state.
            self._changes.clear()
            self._states.clear()

    def stepped(self, step: int) -> None:
        """Takes a state where one is due; called between two steps.

        Args:
            step: that comes next.
        """
        if self.why_not or self._kept is not None:
            return
        if self._until is not None:
            if step >= self._until:
                self._keep(step)
            return
        if not self._capacity:
            self._plan(step)
        if (
            self.why_not
            or step < max(self._states, default=-self._interval) + self._interval
        ):
            return
        self._plan(step)
        # The last batches are held, not those of a state that lies before them.
        oldest = step - self._capacity
        kept = {s: state for s, state in self._states.items() if s >= oldest}
        batches = self._capacity * self._source.batch_bytes()
        while (
            kept and (len(kept) + 1) * self._source.state_bytes() + batches > self._limit
        ):
            del kept[min(kept)]
        self._states = kept
        self._states[step] = self._source.state()
        first = min(self._states)
        self._changes = [c for c in self._changes if c.step >= first]

    def _plan(self, step: int) -> None:
        """Decides how many batches are held, and how often a state is taken."""
        now, batch = self._clock(), self._source.batch_bytes()
        if not batch:
            self.stop("no batch could be held")
            return
        room = self._limit - 2 * self._source.state_bytes()
        capacity = min(MOST_STEPS, room // batch)
        if capacity < 1:
            self.stop(
                f"a batch ({batch:,} bytes) is more than rewind_bytes leave room for"
            )
            return
        if capacity != self._capacity:
            self._capacity = capacity
            self._source.hold(capacity)
        seconds = 0.0
        if self._measured is not None and step > self._measured[0]:
            seconds = (now - self._measured[1]) / (step - self._measured[0])
        self._measured = (step, now)
        copying = self._source.state_bytes() / _BYTES_PER_SECOND
        rare = copying / (_COPY_SHARE * seconds) if seconds > 0 else 0.0
        self._interval = max(1, min(capacity // 2, self.most_between), int(rare))

    def went_bad(self, step: int) -> None:
        """Says that the run went bad: the batches until then are kept, and some after.

        Args:
            step: that comes next.
        """
        if self._until is None and not self.why_not:
            # No batch may be dropped for a later one.
            first = min(self._states, default=step)
            room = max(0, first + self._capacity - step)
            self._until = step + min(AFTER_ONSET, room)
            if self._until == step:
                self._keep(step)

    def _keep(self, step: int) -> None:
        self._kept = (step, self._source.batches())
        self._source.hold(0)

    def take(self, step: int, onset: int) -> Tape | str:
        """Returns the longest stretch that holds a step and begins with a kept state.

        Args:
            step: the number of steps that the training made.
            onset: the step that has to be in it.

        Returns:
            In words why there is none, where that is so.
        """
        if self.why_not:
            return self.why_not
        if self._kept is None:
            self._keep(step)
        tape = self._tape(step, onset, min)
        if tape is None:
            return _NO_ROOM
        self._states = {tape.first: self._states[tape.first]}
        return tape

    def stretch(self, step: int, onset: int) -> Tape | None:
        """Returns the shortest stretch that holds a step; nothing is discarded.

        Args:
            step, onset: as of `take`.
        """
        return None if self.why_not else self._tape(step, onset, max)

    def _tape(
        self, step: int, onset: int, choose: Callable[[list[int]], int]
    ) -> Tape | None:
        end, batches = self._kept or (step, self._source.batches())
        starts = [s for s in self._states if end - len(batches) <= s <= onset < end]
        if not starts:
            return None
        first = choose(starts)
        return Tape(
            first,
            self._states[first].restore,
            batches[len(batches) - (end - first) :],
            [c for c in self._changes if c.step >= first],
        )
