# SPDX-License-Identifier: Apache-2.0
"""The batches of the last steps, as a training received them: common to eager backends."""

from __future__ import annotations

from collections import deque
from typing import Any

import keras


class Batches:
    """Holds the batches of so many of the last steps, by reference."""

    def __init__(self) -> None:
        self._held: deque[Any] = deque(maxlen=0)
        self._bytes = 0

    def put(self, data: Any) -> None:
        """Holds the batch of a step that runs next."""
        if not self._bytes:
            leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
            self._bytes = sum(int(leaf.nbytes) for leaf in leaves)
        self._held.append(data)

    def batch_bytes(self) -> int:
        """Returns the bytes of the first batch, 0 before it."""
        return self._bytes

    def hold(self, steps: int) -> None:
        """Has the batches of so many of the last steps held; 0: of none."""
        self._held = deque(self._held, maxlen=steps)

    def batches(self) -> list[Any]:
        """Returns the batches that are held, the last one is that of the last step."""
        return list(self._held)
