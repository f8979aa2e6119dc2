# SPDX-License-Identifier: Apache-2.0
"""What a step can be run again from: a state from before it, and the batches since.

A compiled step gives its state away (its buffers are donated), so a copy of it is taken
now and then. The same compiled step, run again from there on the same batches, gives the
very same values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import numpy as np

from tb_nanwatch.writing.backends.jax.states import copy_of

# Copying a state may take this share of the time. A state is a copy of all that changes.
_COPY_SHARE: Final = 1 / 200
# Steps of so many seconds are run again at most, copies allowing.
_SECONDS: Final = 0.25
_MOST_BATCHES: Final = 4096

# Runs a step of the training: state and batch to what it told, and the state after it.
Run = Callable[[Any, Any], tuple[Any, Any]]


class Trail:
    """The steps since one from before which the state was copied.

    Args:
        limit: bytes that the batches may hold; that of the last step is always held, and so
            is one state.
        donated: whether a step gives its state away. One that runs eagerly does not.
        before_leaving: called before what is held is left for a new state.
    """

    def __init__(
        self, limit: int, donated: bool, before_leaving: Callable[[], None]
    ) -> None:
        self._limit, self._donated = limit, donated
        self._before_leaving = before_leaving
        self._first = 0
        self._state: Any = None
        self._batches: list[Any] = []
        self._bytes = 0
        # What was set before a step, by a callback for example: place and value.
        self._set: dict[int, list[tuple[int, Any]]] = {}
        # The state that the last step returned.
        self._returned: Any = None
        self._copied_at = 0.0
        self._copying = 0.0

    def begin(self, step: int, state: Any, data: Any, wanted: bool) -> list[int]:
        """Holds what a step begins with; called before it runs.

        Args:
            step: its number.
            state, data: its arguments.
            wanted: whether the step will be looked at.

        Returns:
            Places of what was set since the step before.
        """
        places = self._replaced(state)
        if wanted or self._state is None or self._is_due() or _is_most(state, places):
            self._before_leaving()
            self._take(step, state)
        elif places:
            leaves = jax.tree.leaves(state)
            self._set[step] = [(i, self._copy(leaves[i])) for i in places]
        self._batches.append(data)
        self._bytes += _nbytes(data)
        return places

    def ended(self, state: Any) -> None:
        """Takes in the state that a step returned: what differs later was set."""
        self._returned = state

    def _replaced(self, state: Any) -> list[int]:
        """Returns the places of a state at which another value stands than was returned."""
        # Keras hands on the very state. A compiled step makes one of its own: nobody else
        # has it who could set a value in it.
        if self._donated and state is self._returned:
            return []
        leaves, returned = jax.tree.leaves(state), jax.tree.leaves(self._returned)
        if len(leaves) != len(returned):
            return list(range(len(leaves)))
        return [
            i
            for i, (new, old) in enumerate(zip(leaves, returned, strict=True))
            if new is not old
        ]

    def _is_due(self) -> bool:
        if self._bytes > self._limit or len(self._batches) >= _MOST_BATCHES:
            return True
        wait = max(_SECONDS, self._copying / _COPY_SHARE)
        return time.monotonic() - self._copied_at > wait

    def _take(self, step: int, state: Any) -> None:
        began = time.monotonic()
        self._keep(step, jax.tree.map(self._copy, state))
        self._copied_at = time.monotonic()
        self._copying = self._copied_at - began

    def _keep(self, step: int, state: Any) -> None:
        self._first, self._state = step, state
        self._batches, self._bytes, self._set = [], 0, {}

    def _copy(self, leaf: Any) -> Any:
        if not self._donated:
            return leaf
        return copy_of(leaf)

    def before(self, step: int, run: Run) -> tuple[Any, Any] | None:
        """Returns the state from before a step, and its batch; None where they are gone.

        What is held begins with that step afterwards.

        Args:
            step: that was begun.
            run: the step as it trained.
        """
        if self._state is None or not self._first <= step < self._first + len(
            self._batches
        ):
            return None
        state, batches = self._state, self._batches
        changes = self._set
        skipped = step - self._first
        # A step that is run gives its state away: there is none if it fails.
        self._state = None
        for n in range(skipped + 1):
            state = _with(state, changes.get(self._first + n, []), self._copy)
            if n < skipped:
                _, state = run(state, batches[n])
        later = {s: c for s, c in changes.items() if s > step}
        self._keep(step, state)
        self._batches, self._set = batches[skipped:], later
        self._bytes = sum(map(_nbytes, self._batches))
        return state, self._batches[0]

    def clear(self) -> None:
        """Lets go of everything."""
        self._state = None
        self._batches, self._set, self._returned = [], {}, None


def _is_most(state: Any, places: Sequence[int]) -> bool:
    """Returns whether these places hold more than half of a state."""
    if not places:
        return False
    leaves = jax.tree.leaves(state)
    size = sum(int(leaves[i].nbytes) for i in places)
    return 2 * size > sum(int(leaf.nbytes) for leaf in leaves)


def _with(state: Any, changes: Sequence[tuple[int, Any]], copy: Any) -> Any:
    if not changes:
        return state
    leaves, structure = jax.tree.flatten(state)
    for place, value in changes:
        leaves[place] = copy(value)
    return jax.tree.unflatten(structure, leaves)


def _nbytes(data: Any) -> int:
    total = 0
    for leaf in jax.tree.leaves(data):
        size = getattr(leaf, "nbytes", None)
        total += size or np.asarray(leaf).nbytes
    return total
