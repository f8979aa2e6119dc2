# SPDX-License-Identifier: Apache-2.0
"""Reads mixed precision's loss scale from full looks and rows at its probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import Episode
from tb_nanwatch.writing.recording.health import Health
from tb_nanwatch.writing.recording.loss_scale import LossScale
from tb_nanwatch.writing.recording.phase import PhaseState

Array = npt.NDArray[Any]


class ScaleProbe:
    """Passes the measurements at the probe on to the loss scale.

    Args:
        scale: None where the training has none.
        name: returns the name of its probe, an "optimizer".

    Attributes:
        index: of the probe in the training phase, None where it was not met.
    """

    def __init__(self, scale: LossScale | None, name: Callable[[], str]) -> None:
        self._scale, self._name = scale, name
        self.index: int | None = None

    def find(self, phase: PhaseState) -> None:
        """Looks for the probe among those of a phase."""
        if phase.name == "train" and self._scale is not None:
            # By the time its probe is met, the optimizer has been built.
            self.index = phase.index.get(("optimizer", self._name()))

    def look(
        self,
        step: int,
        indices: Sequence[int],
        healths: Sequence[Health],
        episode: Episode | None,
    ) -> None:
        """Takes in a full look at a training step.

        Args:
            step: of the training.
            indices: of the probes.
            healths: of these.
            episode: that began with the step; one of gradients may end in a stall.
        """
        found = (h for i, h in zip(indices, healths, strict=True) if i == self.index)
        health = next(found, None)
        if self._scale is None or health is None:
            return
        self._scale.look(health.max)
        if episode is not None and any(t.kind == "gradient" for t in episode.tensors):
            self._scale.suspect(step, episode, health.max)

    def skipped(self, phase: PhaseState, first: int, rms: Array, bad: Array) -> Array:
        """Returns [steps], whether the optimizer skipped each; mends the scale in `rms`.

        Args:
            phase: of the rows.
            first: step of the first row.
            rms, bad: [steps, probes].
        """
        index = self.index
        if phase.name != "train" or self._scale is None or index is None:
            return np.zeros(len(rms), np.bool_)
        for i in range(len(rms)):
            look = phase.looks.get(first + i)
            if look is not None and index in look.healths:
                rms[i, index] = look.healths[index][0].max
        gradients = [i for i, p in enumerate(phase.probes) if p.kind == "gradient"]
        skipped, scales = self._scale.follow(
            first,
            rms[:, index],
            np.asarray(bad[:, gradients].any(axis=1)),
            # A gradient that was not summed may hold anything.
            np.asarray((rms[:, gradients] != 0).any(axis=1)),
        )
        rms[:, index] = scales
        return skipped
