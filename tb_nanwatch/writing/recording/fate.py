# SPDX-License-Identifier: Apache-2.0
"""Judges a training so far: its status, and the episode that decides it."""

from __future__ import annotations

from collections.abc import Callable

from tb_nanwatch.record.schema import BadTensor, Episode, Phase, Position, Status
from tb_nanwatch.writing.recording.episodes import EpisodeTracker
from tb_nanwatch.writing.recording.lane import Lane
from tb_nanwatch.writing.recording.loss_scale import LossScale


class Fate:
    """Judges a training by its episodes, its loss scale, and how its loss grew.

    Args:
        tracker: of its episodes.
        lane: of its training steps.
        loss_scale: None where there is none.
        locate: returns the position of a phase's own step.
    """

    def __init__(
        self,
        tracker: EpisodeTracker,
        lane: Lane,
        loss_scale: LossScale | None,
        locate: Callable[[Phase, int], Position],
    ) -> None:
        self._tracker = tracker
        self._lane = lane
        self._loss_scale = loss_scale
        self._locate = locate

    @property
    def is_bad(self) -> bool:
        """Whether non-finite values reached the loss, the objective or the weights."""
        return self._tracker.status in ("score_lost", "diverged")

    @property
    def has_stalled(self) -> bool:
        """Whether most steps were skipped and the loss scale is at its end."""
        return self._loss_scale is not None and self._loss_scale.stalled

    @property
    def _broken_by_update(self) -> bool:
        """Whether the run went bad by an update of which all gradients were finite."""
        origin = self._tracker.origin
        return origin is not None and origin.kind in ("optimizer", "weight")

    @property
    def _stall(self) -> LossScale | None:
        """The loss scale, if the run stalled and nothing else is to blame.

        Keras divides the gradients by the scale. Once that is 0, the first that are finite
        make NaN of the weights: it is one fault, which began where the stall did.
        """
        scale, deciding = self._loss_scale, self._tracker.deciding
        if scale is None or scale.stalled_by is None:
            return None
        if not self.is_bad or deciding is None:
            return scale
        later = deciding.start.step >= scale.stalled_by
        return scale if self._broken_by_update and later and not scale.recovered else None

    @property
    def deciding(self) -> Episode | None:
        """The episode that made the run go bad, or stall; None where neither is so."""
        if self._stall is not None:
            return self._stall.stall.episode if self._stall.stall is not None else None
        return self._tracker.deciding if self.is_bad else None

    def status(self) -> tuple[Status, Position | None, BadTensor | None]:
        """Returns status, onset and origin as of now."""
        tracker = self._tracker
        if not self.is_bad:
            take_off = self._lane.take_off()
            if take_off is not None:
                return "runaway", self._locate("train", take_off), None
        stall = self._stall
        if stall is not None:
            begun = self._locate("train", stall.stalled_at)
            return tracker.status if self.is_bad else "stalled", begun, stall.origin
        if tracker.deciding is None:
            return "clean", None, None
        return tracker.status, tracker.deciding.start, tracker.origin

    @property
    def recovered(self) -> bool:
        """Whether a run that had gone bad is finite again, or learns again."""
        if self.is_bad:
            return not self._tracker.is_bad_now
        return self._loss_scale is not None and self._loss_scale.recovered

    def is_onset(self, phase: Phase, step: int, replica: int) -> bool:
        """Returns whether the episode that decides the status began there.

        Before the run goes bad, that is the episode that may become a stall, if there is one.
        """
        episode, origin = self._tracker.deciding, self._tracker.origin
        scale = self._loss_scale
        if (
            scale is not None
            and scale.stall is not None
            and (not self.is_bad or (scale.is_at_end and self._broken_by_update))
        ):
            episode, origin = scale.stall.episode, scale.origin
        return (
            episode is not None
            and origin is not None
            and origin.replica == replica
            and episode.start.phase == phase
            and self._tracker.opened_step(episode) == step
        )
