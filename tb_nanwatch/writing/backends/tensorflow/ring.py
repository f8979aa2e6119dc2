# SPDX-License-Identifier: Apache-2.0
"""The ring of rows on one replica, which the host reads now and then."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tb_nanwatch.compat.tensorflow import resource_variable
from tb_nanwatch.writing.recording.observer import (
    LOOK_NEXT,
    NO_LIMIT,
    Expectation,
    Floats,
    Layout,
    is_summed,
)

# Rows of the ring. More rows mean fewer reads from the host; at 1 ms a step the
# read (about 0.1 ms) is then 0.04 % of the time. Seconds bound it for slow steps.
RING_ROWS: Final = 256
# Bytes one ring may take; a model of 100,000 probes gets fewer rows.
_MAX_RING_BYTES: Final = 64 << 20
# Half a sum of squares is never negative: this is no row of any step.
_UNWRITTEN: Final = -1.0


def new_limit() -> Any:
    """Returns a limit that has the first step looked at: nothing is known before it."""
    return resource_variable(np.float32(LOOK_NEXT))


class Ring:
    """The variables of one layout on one replica.

    Args:
        layout, replica: whose.
        step: the variable that counts the steps.
        rows: at least.
        most: a row that sums up to more stands out, whatever is expected.
        guarded: a row ends with the half sum of squares of what its proofs rest on, for
            nothing compares it with the limit while the step runs.
    """

    def __init__(
        self,
        layout: Layout,
        replica: int,
        step: Any,
        rows: int,
        most: float = NO_LIMIT,
        *,
        guarded: bool = False,
    ) -> None:
        width = layout.num_columns + layout.has_batch + guarded
        self.guarded = guarded
        self.layout, self.replica, self.step = layout, replica, step
        # What each trace of this layout compares its rows with.
        self.limits: list[Any] = []
        self.size = max(rows, min(RING_ROWS, _MAX_RING_BYTES // (4 * width)))
        self.values = resource_variable(self._empty(width))
        self.expectation = Expectation(LOOK_NEXT, np.zeros(layout.num_columns, np.bool_))
        self.read_to = 0
        self._most = most

    def _empty(self, width: int) -> Floats:
        return np.full((self.size, width), _UNWRITTEN, np.float32)

    def take(self, alone: bool) -> list[tuple[int, Floats]]:
        """Returns the rows since the last call: first step and rows of each stretch.

        Args:
            alone: no other layout wrote any of the steps.
        """
        step = int(self.step.numpy())
        first = max(self.read_to, step - self.size)
        self.read_to = step
        if first == step:
            return []
        steps = np.arange(first, step)
        rows = self.values.numpy()[steps % self.size]
        if alone:
            return [(first, rows)]
        mine = rows[:, 0] != _UNWRITTEN
        # A row that stays would be taken for one of a later step.
        self.values.assign(self._empty(rows.shape[1]))
        steps, rows = steps[mine], rows[mine]
        cuts = np.flatnonzero(np.diff(steps) != 1) + 1
        stretches = zip(np.split(steps, cuts), np.split(rows, cuts), strict=True)
        return [(int(s[0]), r) for s, r in stretches if len(s)]

    def expect(self, expectation: Expectation) -> None:
        """Sets what the rows from the next step on are compared with."""
        most = min(expectation.limit, self._most)
        self.expectation = expectation = expectation._replace(limit=most)
        # While something is bad every step takes the branch, so that its end is seen;
        # whether it stands out is then told from its row.
        limit = LOOK_NEXT if expectation.bad.any() else expectation.limit
        for variable in self.limits:
            variable.assign(np.float32(limit))

    def stands_out(self, row: Floats, proved: bool) -> bool:
        """Returns whether a step has to be looked at.

        Where something is bad, a tensor without a sum counts as it was when last looked at.

        Args:
            row: [columns] of the step.
            proved: whether what has no sum is finite if all sums are.
        """
        bad = self.expectation.bad
        row = np.where(bad & ~is_summed(row), np.float32(np.inf), row)
        unsure = not proved and not self.expectation.bad.any()
        return unsure or self.expectation.stands_out(row)

    def ask(self) -> None:
        """Has the next step looked at in full."""
        self.expect(self.expectation._replace(limit=LOOK_NEXT))
