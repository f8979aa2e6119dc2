# SPDX-License-Identifier: Apache-2.0
"""Finds changes that would have kept a training finite: which are tried, in which order."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.postmortem import changes
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.changing import Changing
from tb_nanwatch.postmortem.experiment import Experimenter
from tb_nanwatch.postmortem.learnt import LEAST_STEPS
from tb_nanwatch.postmortem.means import Means, of_tensorflow
from tb_nanwatch.postmortem.optimizer_changes import (
    FOLLOWS_SCHEDULE,
    HIGH_RATE,
    LOWEST_RATE,
    RATE_DIVISOR,
    alike,
    is_lower_rate,
    lower_rate,
    lower_schedule,
)
from tb_nanwatch.postmortem.stretch import Stretch
from tb_nanwatch.postmortem.tape import Tape, arrays_of
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.record.schema import Experiment, PostMortem

# Steps after the failing one: of what begins before it, and of what begins with it.
STEPS_AFTER: Final = 64
STEPS_AFTER_ONSET: Final = LEAST_STEPS
MAX_SECONDS: Final = 10.0
# Why none begins before the failing step.
TOO_SHORT: Final = "the time left was too short for the steps before it"


def run(
    model: Any,
    capsule: Capsule,
    found: PostMortem,
    tape: Tape | None = None,
    *,
    seconds: float = MAX_SECONDS,
    first: Sequence[Experiment] = (),
    means: Means | None = None,
) -> list[Experiment]:
    """Runs the training again with one thing changed at a time.

    It begins where the tape does, and goes on for some steps behind the failing one; with
    what helped then, as far as the training was to go, as long as there is time. Without
    a tape, or where that does not come to the very state of the failing step, it begins
    with the failing step, whose batch is used again. The first entry is the control, with
    nothing changed; where it stays finite the others would say nothing, and it is alone.

    Args:
        model: as it was trained; afterwards it is as it was.
        capsule: the failing step.
        found: its post-mortem; it is told why none begins before the failing step.
        tape: the steps up to it, and perhaps beyond.
        seconds: for all of them together.
        first: experiments that settled it for a run which went bad alike. They are
            made first, and where they come out here as they did there, no others are.
        means: of the backend; TensorFlow's where nothing is said.
    """
    if not capsule.has_batch or seconds <= 0:
        return []
    if found.redrawn:
        # A run that stays finite may do so by chance.
        found.untried = "the step draws random numbers that cannot be drawn again"
        return []
    means = means or of_tensorflow()
    with means.preserved(model), contextlib.redirect_stdout(io.StringIO()):
        return _Laboratory(model, capsule, found, seconds, means).run(tape, first)


def run_runaway(
    model: Any,
    tape: Tape,
    take_off: int,
    *,
    seconds: float = MAX_SECONDS,
    first: Sequence[Experiment] = (),
    means: Means | None = None,
) -> list[Experiment]:
    """Runs a training again that stayed finite and ran away, one thing changed at a time.

    It goes on for some steps behind that at which it took off, and further as `run` does.
    The first entry is the control; where it learns, it is alone. A change succeeds only
    if the training learns with it.

    Args:
        model: as it was trained; afterwards it is as it was.
        tape: its steps, from before it took off.
        take_off: number of the first step of the runaway.
        seconds, first, means: as of `run`.
    """
    if seconds <= 0 or take_off < tape.first:
        return []
    means = means or of_tensorflow()
    with means.preserved(model), contextlib.redirect_stdout(io.StringIO()):
        return _Runaway(model, None, PostMortem(), seconds, means).run_from(
            Stretch(tape, take_off - tape.first, STEPS_AFTER, True), first
        )


class _Laboratory:
    """Runs the experiments on one training.

    Args:
        model: that was trained.
        capsule: its failing step, None where no step failed.
        found: the post-mortem of that step.
        seconds: for everything.
        means: of the backend.
    """

    def __init__(
        self,
        model: Any,
        capsule: Capsule | None,
        found: PostMortem,
        seconds: float,
        means: Means,
    ) -> None:
        self._model, self._capsule, self._found = model, capsule, found
        self._means = means
        self._deadline = time.monotonic() + seconds
        self._experimenter = Experimenter(model, capsule, found, means)
        self._trains = self._experimenter.trains
        self.results: list[Experiment] = []

    def run(self, tape: Tape | None, first: Sequence[Experiment]) -> list[Experiment]:
        assert self._capsule is not None
        early = None
        if tape is not None and self._trains:
            early = self._early(tape, self._capsule)
        late = self._late(tape, self._capsule)
        control = early if early is not None else late
        unchanged = self._try(changes.UNCHANGED, control)
        if unchanged.finite or not unchanged.tried:
            return self.results
        # What acts on the failing step needs no step before it, but its state.
        came_before = bool(self._found.outliers) and all(
            o.ago for o in self._found.outliers
        )
        for_rows = control if came_before else late
        if self._known(first, control, {"rows": for_rows, "epsilon": late}):
            self._run_on(control)
            return self.results
        self._try(changes.OPTIMIZER, control)
        self._try_rates(control)
        self._try_scales(control)
        self._try(changes.ROWS, for_rows)
        self._try(changes.EPSILON, late)
        self._try(changes.BEGUN, control)
        if late.before is not None:
            # The next epoch brings the batch again.
            self._try(changes.BATCH, Stretch(late.tape, 0, 0, False, late.before))
        self._try_clips(control)
        self._try(changes.FLOAT32, control)
        self._run_on(control)
        return self.results

    # --- Stretches ----------------------------------------------------------------

    def _early(self, tape: Tape, capsule: Capsule) -> Stretch | None:
        """Returns the stretch that begins before the failing step, if it leads to the same state."""
        onset = capsule.position.step - tape.first
        if onset < 0:
            return None
        began = time.monotonic()
        for _ in tape.play(tape.batches[:onset]):
            # Changes are tried with the time that is left.
            if time.monotonic() > began + (self._deadline - began) / 4:
                self._found.untried = TOO_SHORT
                return None
        if not _is_state(self._model, capsule):
            self._found.untried = "run again, the steps before it came out otherwise"
            return None
        return Stretch(tape, onset, STEPS_AFTER, True)

    def _late(self, tape: Tape | None, capsule: Capsule) -> Stretch:
        """Returns the stretch that begins at the failing step, run operation by operation."""
        batches, before = [self._means.tensors_of(capsule.data)], None
        if tape is not None and self._trains:
            onset = capsule.position.step - tape.first
            batches += tape.batches[onset + 1 :]
            before = arrays_of(tape.batches[onset - 1]) if onset else None

        def restore() -> None:
            self._means.assign(self._model, capsule.variables)

        alone = Tape(
            capsule.position.step,
            restore,
            batches,
            train=self._means.steps(self._model, self._trains),
        )
        after = STEPS_AFTER_ONSET if self._trains else 0
        return Stretch(alone, 0, after, False, before)

    # --- Experiments --------------------------------------------------------------

    def _known(
        self,
        first: Sequence[Experiment],
        control: Stretch,
        other: Mapping[str, Stretch],
    ) -> bool:
        """Repeats the experiments that were decisive for another run with the same failure.

        Args:
            first: the experiments on that run.
            control: where most changes are tried.
            other: where some are, by id.

        Returns:
            Whether all of them came out as they did there.
        """
        same = bool(first)
        for earlier in first:
            change = changes.by_id(alike(self._model, earlier))
            if change is None:
                return False
            tried = self._try(change, other.get(change.id, control))
            same = same and tried.tried and tried.succeeded == earlier.succeeded
        return same

    def _try_scales(self, stretch: Stretch) -> None:
        """Scales inputs and labels, and both where neither alone helps."""
        scaled = [
            self._try(change, stretch) for change in (changes.INPUTS, changes.LABELS)
        ]
        if all(s.tried and not s.succeeded for s in scaled):
            self._try(changes.BOTH, stretch)

    def _try_rates(self, stretch: Stretch) -> None:
        """Lowers the learning rate until that helps, then tries whether a smaller cut suffices."""
        before, divisor, rate, lower = 1.0, 1.0, float("inf"), lower_rate
        while rate > LOWEST_RATE:
            divisor *= RATE_DIVISOR
            tried = self._try(lower(divisor), stretch)
            if tried.note == FOLLOWS_SCHEDULE:
                lower = lower_schedule
                tried = self._try(lower(divisor), stretch)
            if not tried.tried or tried.value is None:
                return
            rate = tried.value
            if tried.finite:
                if tried.succeeded:
                    between = float(np.sqrt(before * divisor))
                    self._try(lower(round(between, 1)), stretch)
                    return
                # A training that does not learn at a rate that is still high proves nothing about rates.
                if rate <= HIGH_RATE:
                    return
            before = divisor

    def _try_clips(self, stretch: Stretch) -> None:
        """Clips gradients by norm, or by value where their norm is not a number."""
        by_norm = self._try(changes.CLIP, stretch)
        if by_norm.tried and not by_norm.finite:
            self._try(changes.CLIP_VALUES, stretch)

    # --- As far as the training was to go -----------------------------------------

    def _run_on(self, stretch: Stretch) -> None:
        """Repeats the successful experiments up to the planned end of the training.

        What goes bad further on has not helped. Of learning rates the highest that lasts
        is found, and with half of it the shorter stretch is run, see `rate_margin`.

        Args:
            stretch: that these experiments were made on.
        """
        plan = stretch.tape.plan
        self._found.epoch_steps, self._found.planned_steps = plan.epoch, plan.steps
        long = stretch.to_the_end()
        if long is None or not stretch.early:
            return
        now = time.monotonic()
        self._deadline = now + plan.share * max(0.0, self._deadline - now)
        self._rates_on(stretch, long)
        lasting = [
            change
            for change in changes.LASTING
            if any(e.change == change.id and e.succeeded for e in self.results)
        ]
        for n, change in enumerate(lasting):
            self._further(change, long, parts=len(lasting) - n)

    def _rates_on(self, stretch: Stretch, long: Stretch) -> None:
        lowered = [e for e in self.results if is_lower_rate(e.change)]
        helped = sorted(
            (e for e in lowered if e.succeeded and e.value), key=lambda e: -(e.value or 0)
        )
        if not helped:
            return
        name, divisor = helped[0].change.partition("/")[0], 1.0
        waiting = [float(e.change.partition("/")[2]) for e in helped]
        rate = float("inf")
        while waiting or rate > LOWEST_RATE:
            following = divisor * float(np.sqrt(RATE_DIVISOR))
            divisor = waiting.pop(0) if waiting else round(following, 1)
            change = changes.by_id(f"{name}/{divisor:g}")
            assert change is not None
            tried = self._further(change, long, parts=2)
            if not tried.tried or tried.value is None:
                return
            rate = tried.value
            if tried.succeeded:
                break
        if tried.first + tried.steps < long.tape.plan.steps:
            half = changes.by_id(f"{name}/{divisor * at('rate_margin'):g}")
            assert half is not None
            self._try(half, stretch)

    def _further(self, change: Changing, long: Stretch, parts: int) -> Experiment:
        """Repeats an experiment over a longer stretch; the new result replaces the old one.

        Args:
            change: that is made.
            long: the stretch.
            parts: it takes one of so many parts of the time.
        """
        now = time.monotonic()
        until = now + (self._deadline - now) / parts
        result = self._made(change, long, until)
        before = next((e for e in self.results if e.change == change.id), None)
        if before is None:
            self.results.append(result)
        elif result.tried and (not result.finite or result.steps > before.steps):
            self.results[self.results.index(before)] = result
        else:
            return before
        return result

    def _try(self, change: Changing, stretch: Stretch) -> Experiment:
        for earlier in self.results:
            if earlier.change == change.id:
                return earlier
        now = time.monotonic()
        # One experiment may take at most half of the remaining time.
        result = self._made(change, stretch, now + (self._deadline - now) / 2)
        self.results.append(result)
        return result

    def _made(self, change: Changing, stretch: Stretch, until: float) -> Experiment:
        if time.monotonic() <= self._deadline:
            return self._experimenter.make(change, stretch, until)
        result = Experiment(change.id, change.text, first=stretch.tape.first)
        result.tried, result.note = False, "no time was left"
        return result


class _Runaway(_Laboratory):
    """Runs the experiments on a training that stayed finite while its loss ran away."""

    def run_from(self, stretch: Stretch, first: Sequence[Experiment]) -> list[Experiment]:
        unchanged = self._try(changes.UNCHANGED, stretch)
        if unchanged.succeeded or not unchanged.tried:
            return self.results
        if not self._known(first, stretch, {}):
            self._try(changes.OPTIMIZER, stretch)
            self._try_rates(stretch)
            self._try_scales(stretch)
            self._try_clips(stretch)
        self._run_on(stretch)
        return self.results


def _is_state(model: Any, capsule: Capsule) -> bool:
    """Returns whether the model's state is that before the failing step, bit for bit."""
    kept = {s.role for s in capsule.variables}
    # Where Keras' generator is no part of a step, it was not kept.
    now = [
        (role, v)
        for role, v in variables_of(model)
        if role != "metric" and (role != "random" or role in kept)
    ]
    # State outside of Keras, such as TensorFlow's generators, is not compared.
    roles = {role for role, _ in now}
    then = [s for s in capsule.variables if s.role in roles]
    return len(now) == len(then) and all(
        s.value is None
        or np.array_equal(s.value, v.numpy(), equal_nan=_is_float(s.value))
        for s, (_, v) in zip(then, now, strict=True)
    )


def _is_float(array: Any) -> bool:
    return bool(array.dtype.kind == "f")
