# SPDX-License-Identifier: Apache-2.0
"""How far a step moved the weights, from two full looks in a row; plain NumPy.

A weight's probe holds it after the step's update. Where two consecutive steps are looked at,
the change between them is the second one's update, exactly, and the compiled step needs no
operation for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import Probe
from tb_nanwatch.writing.recording.health import flat_real

Array = npt.NDArray[Any]

# The copy stands beside the training's own memory for a step. This much is small against
# TensorFlow itself, and comparing it takes about as long as a full look at it.
MAX_BYTES: Final = 64 << 20
# Elements in float64 at a time, so that no kernel is copied whole once more.
_CHUNK: Final = 1 << 18


def is_kernel(probe: Probe) -> bool:
    """Returns whether the probe is of a weight with two or more dimensions.

    Biases and scales start at 0 or 1: neither their growth nor a change relative to
    their size says much.
    """
    return probe.kind == "weight" and len(probe.shape) >= 2


class Updates:
    """Compares the kernels of one training step with those of the step before.

    What a callback changes between the two steps counts as well.
    """

    def __init__(self) -> None:
        self._step = -1
        self._kept: dict[int, Array] = {}

    def ratios(self, step: int, kernels: Mapping[int, Array]) -> dict[int, float]:
        """Returns ||after - before|| / ||before||, Frobenius norms, for each kernel.

        Args:
            step: of training.
            kernels: after the step's update, by the index of their probes.

        Returns:
            By the index of the probe; empty where the step before was not kept. NaN
            where the kernel was all zero before, or is not finite.
        """
        if step != self._step + 1:
            return {}
        return {
            index: _ratio(before, kernels[index])
            for index, before in self._kept.items()
            if index in kernels
        }

    def keep(self, step: int, kernels: Mapping[int, Array]) -> bool:
        """Copies the kernels, so that the next step can be compared with them.

        Returns:
            Whether they are kept. They are not where there are none, or where all of them
            together are larger than `MAX_BYTES`.
        """
        self.release()
        if not kernels or sum(k.nbytes for k in kernels.values()) > MAX_BYTES:
            return False
        # Copies: an array may be a view of memory that the next update writes into.
        self._step = step
        self._kept = {index: np.array(kernel) for index, kernel in kernels.items()}
        return True

    def release(self, before: int | None = None) -> None:
        """Lets go of the copies.

        Args:
            before: only where the step after theirs is below this one, and so has passed.
        """
        if before is None or self._step + 1 < before:
            self._step, self._kept = -1, {}


def _ratio(before: Array, after: Array) -> float:
    if before.shape != after.shape:
        return math.nan
    old, new = flat_real(before), flat_real(after)
    moved = size = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, old.size, _CHUNK):
            was = old[start : start + _CHUNK].astype(np.float64)
            change = new[start : start + _CHUNK].astype(np.float64) - was
            moved += float(change @ change)
            size += float(was @ was)
    ratio = math.sqrt(moved) / math.sqrt(size) if size > 0 else math.nan
    return ratio if math.isfinite(ratio) else math.nan
