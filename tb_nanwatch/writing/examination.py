# SPDX-License-Identifier: Apache-2.0
"""Keeps the step at which a training went bad, and runs it again after watching has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from tb_nanwatch.diagnosis.ranking import Cause, diagnose
from tb_nanwatch.diagnosis.tested import confirmation
from tb_nanwatch.errors import warn
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.examples import examples_of
from tb_nanwatch.postmortem.tape import Plan, Tape
from tb_nanwatch.record.schema import Experiment, Position, PostMortem
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.wording.trial_names import trial_name
from tb_nanwatch.writing import capsules
from tb_nanwatch.writing.backends.interface import Backend, Instrument
from tb_nanwatch.writing.log.environment import TrainingSetup
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.search import verdict as verdicts
from tb_nanwatch.writing.search.alike import Tried, Way, way_of

# Of the time that experiments leave: the seconds of a search are those of all its trials.
_SHARE: Final = 1.0
_SHARE_IN_SEARCH: Final = 0.125


class Options(Protocol):
    """The callback's options that concern the failing step."""

    log_dir: str
    activations_only: bool
    capsules: int
    capsule_bytes: int
    experiments: float


class Examination:
    """Keeps, runs again and explains the step at which a training went bad.

    In this order: `keep` as soon as the run is known to be bad, `take_tape` while its
    model is watched, and `run` when that is over.
    """

    def __init__(
        self,
        options: Options,
        model: Any,
        session: TrainingLog,
        backend: Backend,
        instrument: Instrument,
        given: Any,
    ) -> None:
        """Takes the parts of a training; `given`: what `fit` was given, None if unknown."""
        self._options = options
        self._model = model
        self._session = session
        self._backend = backend
        self._instrument = instrument
        # As fit's own frame does, until the training has ended.
        self._given = given
        self._recorder = session.recorder
        self._trial = session.trial
        self._capsule: Capsule | None = None
        self._place = ""
        self._tape: Tape | str = ""
        self._tries = True

    def keep(self, last: bool = True) -> None:
        """Writes the step at which the run went bad, as soon as it is known.

        Args:
            last: nothing worse is worth a capsule.
        """
        self._capsule = None
        capture = self._instrument.capture
        if capture is None:
            return
        try:
            if capture.too_large:
                self._instrument.notes.append(
                    "no capsule was kept: model, optimizer and batch are larger than "
                    f"capsule_bytes={self._options.capsule_bytes:,}"
                )
            kept = capture.take(last)
            if kept is None:
                return
            self._capsule = capsules.make(
                kept, self._model, self._session, self._recorder
            )
            place = capsules.place_for(
                self._options.log_dir, self._session.run_dir, self._options.capsules
            )
            if self._capsule is not None and place is not None:
                self._capsule.write(place, self._options.capsule_bytes)
                self._place = str(place)
        except Exception as e:  # a capsule is never worth a training
            self._instrument.notes.append(f"no capsule was kept: {type(e).__name__}: {e}")

    def take_tape(self) -> None:
        """Takes the tape to run the training again from, while the model is still watched."""
        # A model that another callback still watches is not trained: the last callback does it.
        self._tries = self._instrument.is_alone
        with contextlib.suppress(Exception):  # then nothing is tried
            status, onset, _ = self._recorder.status()
            gone = self._recorder.fate.is_bad or status == "runaway"
            if self._tries and gone and onset is not None and onset.phase == "train":
                self._tape = self._instrument.take_tape(onset.step)

    def run(self) -> None:
        """Runs the failing step again, once the model is no longer watched."""
        capsule, self._capsule = self._capsule, None
        tape, self._tape = self._tape, ""
        given, self._given = self._given, None
        began = time.monotonic()
        if capsule is not None and not isinstance(tape, str):
            self._complete(capsule, tape)
        _, onset, _ = self._recorder.status()
        if onset is not None and not isinstance(tape, str):
            tape.plan = _plan_of(
                self._session.environment, onset, in_search=self._trial is not None
            )
        try:
            seconds = self._seconds_to_try()
            result = self._examined(capsule, tape, seconds)
            if result is None:
                return
            if capsule is not None:
                with contextlib.suppress(Exception):  # a detail of the answer
                    result.examples = examples_of(given, capsule, result)
            self._tried_for(time.monotonic() - began)
            self._note_alike(result, seconds)
            result.seconds = time.monotonic() - began
            self._session.write_post_mortem(result)
        except Exception as e:
            said = of_error(e)
            warn(f"NaN Watch's post-mortem failed: {said}")

    def _examined(
        self, capsule: Capsule | None, tape: Tape | str, seconds: float
    ) -> PostMortem | None:
        """Returns the post-mortem; None where no step failed and there is nothing to try.

        Args:
            capsule: the failing step, None where there is none.
            tape: what the training can be run again from, or why not.
            seconds: for experiments.
        """
        if capsule is not None:
            result = self._backend.examine(
                self._model,
                capsule,
                activations_only=self._options.activations_only,
                tape=tape,
                seconds=seconds,
                first=self._first_to_try,
            )
            if capsule.has_batch:
                result.capsule = self._place
            return result
        status, onset, _ = self._recorder.status()
        if status != "runaway" or onset is None or not self._wants_experiments:
            return None
        return self._backend.examine_runaway(
            self._model, onset.step, tape=tape, seconds=seconds, first=self._first_to_try
        )

    def _complete(self, capsule: Capsule, tape: Tape) -> None:
        """Adds the state from before its step to the capsule, where it is missing."""
        try:
            whole = self._backend.complete(capsule, tape, self._model)
            if whole and self._place:
                place = Path(self._place)
                capsules.replace_on_disk(capsule, place, self._options.capsule_bytes)
        except Exception as e:  # it stays as it was
            self._instrument.notes.append(f"the capsule stayed incomplete: {of_error(e)}")

    def _seconds_to_try(self) -> float:
        """Returns the seconds that experiments may take now."""
        if not self._tries:
            return 0.0
        if self._trial is None:
            return self._options.experiments
        return verdicts.state_of(self._trial.tuner).seconds_to_try(
            self._options.experiments
        )

    @property
    def _wants_experiments(self) -> bool:
        """Returns whether experiments should be tried while time is left."""
        return self._tries and self._options.experiments > 0

    def _first_to_try(self, found: PostMortem) -> Sequence[Experiment]:
        """Returns the experiments that settled the cause of a run which went bad in the same way."""
        if self._trial is None:
            return ()
        return verdicts.state_of(self._trial.tuner).alike.first(self._way(found))

    def _note_alike(self, found: PostMortem, seconds: float) -> None:
        """Notes the experiments on this run for later runs of the search.

        Args:
            found: its post-mortem; it is told why nothing was tried, where that is so.
            seconds: that there were for experiments.
        """
        if self._trial is None or not self._wants_experiments:
            return
        alike, way = verdicts.state_of(self._trial.tuner).alike, self._way(found)
        if seconds <= 0 or found.experiments:
            why_not = alike.why_not(way, found)
            found.untried = "; ".join(filter(None, [found.untried, why_not]))
        facts = replace(self._session.facts(), postmortem=found)
        confirming = confirmation(facts, self._diagnosed(found).id)
        name = trial_name(self._trial.trial_id, self._trial.number)
        alike.note(way, Tried(name, found.experiments, confirming))

    def _way(self, found: PostMortem) -> Way:
        """Returns the way in which the run went bad, without regard to experiments."""
        status, _, origin = self._recorder.status()
        cause = self._diagnosed(replace(found, experiments=[])).id
        return way_of(status, cause, origin, found)

    def _diagnosed(self, found: PostMortem) -> Cause:
        """Returns the likeliest cause with a post-mortem that is not written yet."""
        facts = replace(self._session.facts(), postmortem=found)
        with contextlib.suppress(Exception):  # the cause then counts as unknown
            return diagnose(facts)[0]
        return Cause("unknown", 0.0)

    def _tried_for(self, seconds: float) -> None:
        if self._trial is not None:
            verdicts.state_of(self._trial.tuner).tried_for += seconds


def _plan_of(environment: TrainingSetup, onset: Position, *, in_search: bool) -> Plan:
    """Returns the planned length of a training, and the time allowed for running that far.

    Args:
        environment: of the training.
        onset: its first bad step.
        in_search: whether other trainings need the time as well.
    """
    share = _SHARE_IN_SEARCH if in_search else _SHARE
    if onset.phase != "train":
        return Plan(share=share)
    before = onset.step - onset.batch
    epoch = environment.steps_per_epoch or 0
    if not epoch and onset.epoch and before and before % onset.epoch == 0:
        epoch = before // onset.epoch  # a data set of unknown length
    # Epochs are counted as Keras does: the first of this training may be a later one.
    left = (environment.epochs_planned or 0) - onset.epoch
    steps = before + epoch * left if epoch and left > 0 else 0
    return Plan(epoch, steps, share)
