# SPDX-License-Identifier: Apache-2.0
"""Rows of sums that wait to be handed to the observer."""

from __future__ import annotations

from tb_nanwatch.writing.recording.observer import Floats, Layout


class Rows:
    """Rows of steps one after the other, those of one layout together.

    Attributes:
        count: how many wait.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Layout, int, list[Floats]]] = []
        self.count = 0

    def add(self, layout: Layout, step: int, row: Floats) -> None:
        """Adds the row of a step."""
        last = self._rows[-1] if self._rows else None
        if last is not None and last[0] is layout and last[1] + len(last[2]) == step:
            last[2].append(row)
        else:
            self._rows.append((layout, step, [row]))
        self.count += 1

    def take(self) -> list[tuple[Layout, int, list[Floats]]]:
        """Returns layout, first step and rows of all that wait; none waits any more."""
        rows, self._rows, self.count = self._rows, [], 0
        return rows
