# SPDX-License-Identifier: Apache-2.0
"""Turns rows of sums and full looks into episodes, ranges, lanes and a status, with NumPy alone.

The recorder is the `Observer` of the probes. It knows no TensorFlow and writes no
files; the callback takes from it what is to be written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import (
    BadTensor,
    Damage,
    Phase,
    Position,
    Probe,
    Status,
)
from tb_nanwatch.record.words import LARGEST
from tb_nanwatch.writing.recording.buckets import Bucket, FullLook, bucket_end
from tb_nanwatch.writing.recording.episodes import EpisodeTracker
from tb_nanwatch.writing.recording.fate import Fate
from tb_nanwatch.writing.recording.flight import (
    FLIGHT_AFTER,
    FLIGHT_BEFORE,
    Flight,
    flight_around,
)
from tb_nanwatch.writing.recording.health import Health, health_of
from tb_nanwatch.writing.recording.lane import Lane, Point
from tb_nanwatch.writing.recording.loss_scale import LossScale, ScaleProbe
from tb_nanwatch.writing.recording.observer import (
    LOOK_NEXT,
    NO_LIMIT,
    Expectation,
    Layout,
)
from tb_nanwatch.writing.recording.phase import PhaseState
from tb_nanwatch.writing.recording.positions import Positions
from tb_nanwatch.writing.recording.updates import Updates, is_kernel

Array = npt.NDArray[Any]

# A full look is paid by the steps without one: it may take 1/200 of the time, and
# a step whose values have grown this much since the last full look is looked at.
LOOK_SHARE: Final = 1 / 200
GROWTH_BETWEEN_LOOKS: Final = 100.0
FIRST_LOOKS: Final = 4
MIN_LOOK_SECONDS: Final = 1.0
# Tensors that are all zero grow beyond any multiple.
_SMALLEST_LIMIT: Final = 1e-12


class Recorder:
    """Follows one training.

    Args:
        objectives: names of the metrics, as in the logs, that are the search's objective, or
            that callbacks go by.
        replicas: in sync.
        clock: monotonic seconds.
        loss_scale: the loss scale before the first step; None where there is none.
        loss_scale_name: returns the name of the loss scale's probe, an "optimizer".
    """

    def __init__(
        self,
        objectives: Sequence[str] = (),
        replicas: int = 1,
        clock: Callable[[], float] = time.monotonic,
        loss_scale: float | None = None,
        loss_scale_name: Callable[[], str] = lambda: "",
    ) -> None:
        self._clock = clock
        self._started = clock()
        self._replicas = replicas
        self._lock = threading.RLock()
        self._phases: dict[Phase, PhaseState] = {
            "train": PhaseState("train"),
            "validation": PhaseState("validation"),
        }
        self._positions = Positions()
        self.tracker = EpisodeTracker(objectives, self.locate)
        self._lane = Lane()
        self._updates = Updates()
        # Whether the next look is one that was asked for, and whether such a look has the
        # next step looked at, too.
        self._asked = False
        self._looks_in_pairs = False
        self.loss_scale = None if loss_scale is None else LossScale(loss_scale)
        self.fate = Fate(self.tracker, self._lane, self.loss_scale, self.locate)
        self._scale = ScaleProbe(self.loss_scale, loss_scale_name)
        self.closest: dict[str, float] = {}
        self.closest_in: dict[str, list[str]] = {}
        self.probes_changed = False
        self._flight_of: int | None = None

    # --- Positions ------------------------------------------------------------

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Says that `epoch` begins before training step `step`."""
        with self._lock:
            self._positions.begin_epoch(epoch, step)

    def begin_validation(self, step: int, trained: int) -> None:
        """Says that a pass begins before validation step `step`, `trained` steps in."""
        with self._lock:
            self._positions.begin_validation(step, trained)

    def locate(self, phase: Phase, step: int) -> Position:
        """Returns the position of a phase's own step."""
        return self._positions.locate(phase, step)

    # --- What the probes report -----------------------------------------------

    def observe(
        self,
        layout: Layout,
        replica: int,
        step: int,
        tensors: Sequence[Array | Health],
        *,
        spent: float = 0.0,
    ) -> Expectation:
        """Measures every tensor of a step; see `observer.Observer`."""
        began = self._clock() - spent
        healths = [health_of(t) for t in tensors]
        with self._lock:
            phase = self._phases[layout.phase]
            indices = self._indices(phase, layout.probes)
            by_probe = [healths[source] for source in layout.sources]
            look = phase.looks.get(step)
            if look is None:
                look = phase.looks[step] = FullLook(step, {})
            for index, health in zip(indices, by_probe, strict=True):
                look.healths.setdefault(index, []).append(health)
                self._note_closest(phase.probes[index], health)
                phase.sizes[index] = health.size  # on one replica
            self.tracker.observe(
                layout.phase, step, replica, phase.probes, by_probe, indices
            )
            if layout.phase == "train" and self.loss_scale is not None:
                began_there = self.tracker.begun_at("train", step)
                self._scale.look(step, indices, by_probe, began_there)
            expectation = self._expectation(layout, healths, step)
            if layout.phase == "train" and replica == 0:
                kernels = {
                    index: kernel
                    for index, probe, source in zip(
                        indices, layout.probes, layout.sources, strict=True
                    )
                    if is_kernel(probe)
                    and not healths[source].num_bad
                    and not isinstance(kernel := tensors[source], Health)
                }
                if self._compare(look, kernels):
                    expectation = expectation._replace(limit=LOOK_NEXT)
            phase.last_look = max(phase.last_look, step)
            now = self._clock()
            phase.look_seconds = 0.5 * (phase.look_seconds + now - began)
            phase.looked_at = now
            return expectation

    def _compare(self, look: FullLook, kernels: dict[int, Array]) -> bool:
        """Takes the update of a training step, if the step before was looked at.

        Returns:
            Whether the next step is wanted, too, for its update.
        """
        look.updates = self._updates.ratios(look.step, kernels)
        asked, self._asked = self._asked, False
        if asked or look.step + 1 < FIRST_LOOKS:
            kept = self._updates.keep(look.step, kernels)
            self._looks_in_pairs = kept
            return kept
        self._updates.release()
        return False

    def _indices(self, phase: PhaseState, probes: Sequence[Probe]) -> list[int]:
        indices, new = phase.indices(probes)
        if new:
            self.probes_changed = True
            self._scale.find(phase)
        return indices

    def is_onset(self, phase: Phase, step: int, replica: int) -> bool:
        """Returns whether the episode that decides the status began there."""
        with self._lock:
            return self.fate.is_onset(phase, step, replica)

    def _note_closest(self, probe: Probe, health: Health) -> None:
        if probe.kind not in ("activation", "prediction", "gradient"):
            return
        largest = max(abs(health.min), abs(health.max))
        if np.isfinite(largest):
            share = largest / LARGEST.get(probe.dtype, float("inf"))
            if share >= self.closest.get(probe.dtype, 0.0):
                self.closest[probe.dtype] = share
                self.closest_in[probe.dtype] = [probe.kind, probe.name]

    def _expectation(
        self, layout: Layout, healths: Sequence[Health], step: int
    ) -> Expectation:
        n = layout.num_columns
        bad = np.array([h.num_bad > 0 for h in healths[:n]], np.bool_)
        total = sum(h.sum_squares for h in healths[:n] if not h.num_bad) / 2
        limit = min(max(total * GROWTH_BETWEEN_LOOKS**2, _SMALLEST_LIMIT), NO_LIMIT)
        if layout.phase == "train" and step + 1 < FIRST_LOOKS:
            limit = LOOK_NEXT
        return Expectation(limit, bad)

    def wants_look(self) -> bool:
        """Returns whether the next training step is to be looked at in full.

        The caller has it looked at then. Where there are kernels to compare, the step
        after it is looked at, too, and the two share the time.
        """
        with self._lock:
            phase = self._phases["train"]
            if phase.last_look < 0:
                return False
            seconds = phase.look_seconds * (2 if self._looks_in_pairs else 1)
            wait = max(MIN_LOOK_SECONDS, seconds / LOOK_SHARE)
            self._asked = self._clock() - phase.looked_at > wait
            return self._asked

    def rows(self, layout: Layout, replica: int, first_step: int, rows: Array) -> None:
        """Takes in the rows of consecutive steps; see `observer.Observer`."""
        with self._lock:
            phase = self._phases[layout.phase]
            indices = self._indices(phase, layout.probes)
            rms, bad = phase.root_mean_squares(layout, indices, rows)
            for part in phase.whole_steps(replica, self._replicas, first_step, rms, bad):
                self._add_rows(phase, *part)

    def _add_rows(self, phase: PhaseState, first: int, rms: Array, bad: Array) -> None:
        phase.correct_by_looks(first, rms, bad)
        skipped = self._scale.skipped(phase, first, rms, bad)
        rms[bad] = np.nan
        seen = rms.copy()
        seen[bad] = np.inf
        needed = first + len(rms) - (FLIGHT_BEFORE + FLIGHT_AFTER + 1)
        onset = self._awaited_onset(phase)
        if onset is not None:
            needed = min(needed, onset - FLIGHT_BEFORE)
        phase.keep_recent(first, seen, needed)
        self._add_points(phase, phase.fill(first, rms, bad, skipped))
        phase.steps = max(phase.steps, first + len(rms))
        if phase.name == "train":
            self._updates.release(before=phase.steps)

    def _awaited_onset(self, phase: PhaseState) -> int | None:
        """Returns the onset, in the phase's steps, whose flight is still to be taken."""
        episode = self.fate.deciding
        if (
            episode is None
            or episode.start.phase != phase.name
            or self._flight_of == episode.id
        ):
            return None
        return self.tracker.opened_step(episode)

    def end_validation(self) -> None:
        """Says that the validation pass is over: its bucket closes if it is wide enough.

        Passes are not merged while they are few; later ones are, as training steps are,
        or a validation after every epoch would fill the log.
        """
        with self._lock:
            phase = self._phases["validation"]
            bucket = phase.bucket
            if bucket is not None and bucket.end >= bucket_end(bucket.start):
                self._add_points(phase, phase.close())

    # --- Lane -----------------------------------------------------------------

    def _add_points(self, phase: PhaseState, buckets: Sequence[Bucket]) -> None:
        if phase.name == "train":
            self._lane.points += [self._point(phase, bucket) for bucket in buckets]

    def _point(self, phase: PhaseState, bucket: Bucket) -> Point:
        epoch = self.locate("train", bucket.end).epoch
        seconds = self._clock() - self._started
        point = self._lane.point(bucket, phase.probes, phase.sizes, seconds, epoch)
        if self._scale.index is not None:
            point.loss_scale = float(bucket.last[self._scale.index])
            point.skipped = bucket.skipped
        return point

    def lane(self) -> list[Point]:
        """Returns the lane's points, that of the open bucket included."""
        with self._lock:
            phase = self._phases["train"]
            points = list(self._lane.points)
            if phase.bucket is not None and phase.bucket.end >= phase.bucket.start:
                points.append(self._point(phase, phase.bucket))
            return points

    # --- Status ---------------------------------------------------------------

    def status(self) -> tuple[Status, Position | None, BadTensor | None]:
        """Returns status, onset and origin as of now."""
        with self._lock:
            return self.fate.status()

    @property
    def damage(self) -> list[Damage]:
        """The epochs at whose end weights or layer state were non-finite."""
        with self._lock:
            return self.tracker.damage

    def probes(self, phase: Phase) -> list[Probe]:
        """Returns the phase's probes; indices never change."""
        with self._lock:
            return list(self._phases[phase].probes)

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of the phase have been handed over."""
        return self._phases[phase].steps

    # --- Output ---------------------------------------------------------------

    def take_buckets(self, phase_name: Phase) -> list[Bucket]:
        """Returns the buckets that closed since the last call."""
        with self._lock:
            phase = self._phases[phase_name]
            closed, phase.closed = phase.closed, []
            for bucket in closed:
                bucket.widen(len(phase.probes))
            return closed

    def take_flight(self, last: bool = False) -> Flight | None:
        """Returns the flight recorder of a new onset, once the steps after it are in.

        Args:
            last: no more steps will come.
        """
        with self._lock:
            episode = self.fate.deciding
            if episode is None or self._flight_of == episode.id:
                return None
            phase = self._phases[episode.start.phase]
            onset = self.tracker.opened_step(episode)
            if not last and phase.steps <= onset + FLIGHT_AFTER:
                return None
            self._flight_of = episode.id
            return flight_around(phase, onset)

    def finish(self) -> None:
        """Says that no more steps will come: everything open closes."""
        with self._lock:
            self._updates.release()
            for name, phase in self._phases.items():
                self._add_points(phase, phase.close())
                if phase.steps or phase.last_look >= 0:
                    self.tracker.end(name, max(phase.steps - 1, phase.last_look))
