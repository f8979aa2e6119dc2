"""Keeps a recent state, from which a step that has just run can be run again.

A step that stands out is looked at after its call, from the state before it. To hold that
state in every step would have the step copy all that it changes. So a state is taken now
and then, as rarely as its cost asks for, and the batches since: the steps in between are
run once more when a step stands out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tb_nanwatch.postmortem.tape import Change, Tape
from tb_nanwatch.writing.rewind import BYTES_PER_SECOND, COPY_SHARE, MOST_STEPS, State

_NEVER: Final = MOST_STEPS << 32


class Recent:
    """The recent state of one training, and what was set since.

    It is one copy of all that changes. The batches since are held within a limit of
    bytes; but those of one call are held in any case.

    Args:
        take: returns the state of this moment.
        state_bytes: returns the bytes that it holds.
        batch_bytes: returns the bytes of the last batch, 0 before the first.
        hold: has the batches of so many of the last steps held.
        limit: bytes of batches.
        per_call: returns the number of steps that a call makes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        take: Callable[[], State],
        state_bytes: Callable[[], int],
        batch_bytes: Callable[[], int],
        hold: Callable[[int], None],
        limit: int,
        per_call: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._take, self._state_bytes, self._batch_bytes = take, state_bytes, batch_bytes
        self._hold, self._limit, self._per_call = hold, limit, per_call
        self._clock = clock
        self._state: tuple[int, State] | None = None
        self._changes: list[Change] = []
        self._interval = 1
        self._held = 0
        # Before which step the last state was taken, and when.
        self._taken: tuple[int, float] | None = None
        self._over = False

    @property
    def has_begun(self) -> bool:
        """Whether a state is kept, or nothing is to be kept any more."""
        return self._state is not None or self._over

    @property
    def next_look(self) -> int:
        """The number of steps after which `renew` is to be called again."""
        if self._over:
            return _NEVER
        return 0 if self._state is None else self._state[0] + self._interval

    def renew(self, step: int) -> None:
        """Takes the state of this moment.

        Args:
            step: that comes next.
        """
        if self._over or (self._state and self._state[0] == step and not self._changes):
            return
        began = self._clock()
        self._state, self._changes = None, []  # first, or there would be two copies
        self._state = (step, self._take())
        now = self._clock()
        spent = now - began + self._state_bytes() / BYTES_PER_SECOND
        if self._taken is not None and step > self._taken[0]:
            seconds = (began - self._taken[1]) / (step - self._taken[0])
            rare = spent / (COPY_SHARE * seconds) if seconds > 0 else 0.0
            self._interval = max(1, min(int(rare), self._most()))
        self._taken = (step, now)
        held = self._interval + self._per_call()
        if held > self._held:  # by halves again: to hold others costs an operation each
            self._held = max(held, min(2 * self._held, self._most() + self._per_call()))
            self._hold(self._held)

    def _most(self) -> int:
        """Returns the steps between two states whose batches the limit has room for."""
        batch = self._batch_bytes()
        held = min(MOST_STEPS, self._limit // batch) if batch else 0
        return held - self._per_call()

    def changed(self, change: Change) -> None:
        """Keeps what was set between two steps."""
        if self._over or self._state is None:
            return
        self._changes.append(change)
        if sum(c.value.nbytes for c in self._changes) > self._limit // 4:
            # Weights were replaced, perhaps: after the next call there is a new state.
            self._state, self._changes = None, []

    def stop(self) -> None:
        """Gives up what is kept, and keeps no more."""
        self._over, self._state, self._changes = True, None, []
        self._hold(0)

    def tape(self, step: int, steps: int, batches: Sequence[Any]) -> Tape | None:
        """Returns what leads from the recent state to a step, and through it.

        Args:
            step: that has run.
            steps: the number of steps that the training made.
            batches: of the last steps.

        Returns:
            None where the state is not from before the step, or batches are missing.
        """
        if self._state is None:
            return None
        first, state = self._state
        begin = len(batches) - (steps - first)
        if not begin >= 0 or not first <= step < steps:
            return None
        return Tape(
            first,
            state.restore,
            list(batches[begin : begin + step + 1 - first]),
            [c for c in self._changes if c.step <= step],
        )
