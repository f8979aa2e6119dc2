# SPDX-License-Identifier: Apache-2.0
"""Follows the loss scale of mixed precision: the steps it skipped, and whether it is exhausted.

Keras' `LossScaleOptimizer` multiplies the loss by a scale. In a step with a gradient that
is not finite it halves the scale and leaves the weights as they are. That is by design
while it looks for a scale that fits; where gradients are not finite at any scale it goes
on until the scale is 0, and nothing is learnt. No value that lasts is ever non-finite.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import BadTensor, Episode
from tb_nanwatch.writing.recording.health import Health
from tb_nanwatch.writing.recording.phase import PhaseState

Array = npt.NDArray[Any]

# Keras' scale begins here by default, and a training that is gone on with may begin lower.
_USUAL_START: Final = 2.0**15
# Half the square of a smaller scale is nothing in float32, or close to it: what a row says
# of the scale is then no more than that.
_LEAST_READ: Final = 2.0**-60
# TensorFlow and XLA flush smaller numbers to 0.
_LEAST: Final = float(np.finfo(np.float32).tiny)


@dataclass
class Suspect:
    """An episode of non-finite gradients that may have begun a stall.

    Attributes:
        step: its first step.
        episode: as the tracker holds it.
    """

    step: int
    episode: Episode


class LossScale:
    """Follows the loss scale of one training; rows and looks come in order of the steps.

    A training has stalled once more than half of the last `window` steps were skipped or
    lost and the scale has fallen below 1. The window is four times as long as the number of halvings
    that take the scale from where it began (2**15 at least, Keras' default) to below 1: 64
    steps. Loss scaling that works skips no more than these halvings in a row, a quarter of
    the window, and from then on one step in `dynamic_growth_steps` (2000); where that is 1,
    every second step. Below 1 a scale lifts no gradient: it has nothing left to look for.

    Args:
        start: the scale before the first step.

    Attributes:
        scale: after the last step whose row was taken in.
        window: in steps.
        skipped: steps so far that were skipped.
        lost: steps that were not skipped, but at a scale below 1 had gradients of zero
            alone: float16 holds none so small.
        last_update: the last step that was not skipped; None where there was none.
        stalled_by: the step by which the training had stalled; None where it has not.
        stall: the episode that it began with; None where none was looked at.
    """

    def __init__(self, start: float) -> None:
        self.scale = start
        highest = max(start, _USUAL_START) if math.isfinite(start) else _USUAL_START
        self.window = 4 * (math.floor(math.log2(highest)) + 1)
        self.skipped = self.lost = 0
        self.last_update: int | None = None
        self.stalled_by: int | None = None
        self._stalled_at = 0
        self._lowest = highest * 0.5 ** (self.window // 2)
        self._seen = start
        self._last: Episode | None = None
        # Steps that were skipped or lost, and the scale after each.
        self._recent: deque[tuple[int, float]] = deque()
        self.stall: Suspect | None = None

    @property
    def stalled(self) -> bool:
        """Whether the training has stalled at some time."""
        return self.stalled_by is not None

    @property
    def is_at_end(self) -> bool:
        """Whether the last look saw a scale as small as only a stall makes it.

        Looks are ahead of rows.
        """
        return self.stall is not None and self._seen < self._lowest

    @property
    def stalled_at(self) -> int:
        """Returns the first step of the stall."""
        return self._stalled_at if self.stall is None else self.stall.step

    @property
    def recovered(self) -> bool:
        """Whether a stalled training has recovered: its scale lifts gradients again."""
        return self.stalled and self.scale >= 1

    def look(self, scale: float) -> None:
        """Takes in the scale after a step that was looked at."""
        self._seen = scale

    def suspect(self, step: int, episode: Episode, scale: float) -> None:
        """Takes in an episode that begins with a gradient that is not finite.

        The one that took the scale below 1 is kept, which is not by design, until a
        window has passed without any; before there is one, the last.

        Args:
            step: its first, which was looked at.
            episode: that began there.
            scale: after that step.
        """
        if self.stalled:
            return
        last, self._last = self._last, episode
        calm = last is None or step - (last.end_step or last.start.step) > self.window
        if self.stall is None or 2 * scale >= 1 or calm:
            self.stall = Suspect(step, episode)

    @property
    def origin(self) -> BadTensor | None:
        """The first tensor to become non-finite where the stall began."""
        if self.stall is None:
            return None
        episode = self.stall.episode
        new = [episode.tensors[i] for i in episode.new] or episode.tensors
        # No gradient comes of a metric.
        return next((t for t in new if t.kind != "metric"), new[0])

    def follow(
        self, first: int, scales: Array, bad_gradient: Array, gradient: Array
    ) -> tuple[Array, Array]:
        """Takes in the rows of consecutive steps.

        Args:
            first: step of the first row.
            scales: [steps] the scale after each, as far as it was read: 0 where its square
                is too small for a row, NaN where it is not known.
            bad_gradient: [steps] whether some gradient was non-finite.
            gradient: [steps] whether some gradient was not zero.

        Returns:
            [steps] whether the optimizer skipped each, and the scale after it.
        """
        n = len(scales)
        before = np.concatenate([[self.scale], scales[:-1]])
        if np.minimum(before, scales).min() >= _LEAST_READ:  # as nearly always
            skipped, exact = np.asarray(scales < before), scales.astype(np.float64)
        else:
            skipped, exact = np.zeros(n, np.bool_), np.zeros(n)
            scale = self.scale
            for i, read in enumerate(scales.tolist()):
                told = min(scale, read) >= _LEAST_READ
                # The scale cannot be read, or cannot fall: Keras skips a step with a bad gradient.
                skipped[i] = read < scale if told else bad_gradient[i]
                if not told and not read > 0:
                    read = scale * (0.5 if skipped[i] else 1.0)
                    read = read if read >= _LEAST else 0.0
                exact[i] = scale = read
        lost = ~skipped & ~gradient & (exact < 1)
        for i in np.flatnonzero(skipped | lost).tolist():
            self._learns_nothing(first + i, float(exact[i]))
        self.skipped += int(skipped.sum())
        self.lost += int(lost.sum())
        updates = np.flatnonzero(~skipped)
        if updates.size:
            self.last_update = first + int(updates[-1])
        self.scale = float(exact[-1])
        return skipped, exact

    def _learns_nothing(self, step: int, scale: float) -> None:
        self._recent.append((step, scale))
        while self._recent[0][0] <= step - self.window:
            self._recent.popleft()
        if not self.stalled and 2 * len(self._recent) > self.window and scale < 1:
            self.stalled_by = step
            self._stalled_at = next(at for at, after in self._recent if after < 1)


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
        """Returns bool [steps], the skipped ones; corrects the scale in `rms`.

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
