# SPDX-License-Identifier: Apache-2.0
"""Logs one training: when its records are due, its status, and its facts."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypedDict

from tb_nanwatch.diagnosis.facts import Facts, Scaling
from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import HParam, State
from tb_nanwatch.record.strict_json import text_of
from tb_nanwatch.wording.messages import without_noise
from tb_nanwatch.writing.earlier import Training
from tb_nanwatch.writing.log import hparams as hparams_log
from tb_nanwatch.writing.log.environment import TrainingSetup
from tb_nanwatch.writing.log.records import TrainingRecords
from tb_nanwatch.writing.log.score import Scoring
from tb_nanwatch.writing.log.summary import EventWriter, search_writer
from tb_nanwatch.writing.recording import lane
from tb_nanwatch.writing.recording.recorder import Recorder
from tb_nanwatch.writing.search import tuner
from tb_nanwatch.writing.search.tuner import Trial
from tb_nanwatch.writing.search.verdict import Verdict, state_of

# The status is written again after a tenth of the time so far, so that a run of any
# length holds about a hundred of them; from two and a half hours on every quarter of an
# hour, since each holds the whole lane: a million steps stay below 4 MB (tests/hostile).
_STATUS_SHARE: Final = 0.1
_STATUS_MIN_SECONDS: Final = 1.0
_STATUS_MAX_SECONDS: Final = 900.0
# In between a small record shows that the run is alive: a third of a megabyte in two days.
# A run is given up after three of them: a step, a validation pass or the compilation of
# a large model may take minutes.
_HEARTBEAT_SECONDS: Final = 140.0
# Characters of an exception's message.
_MAX_MESSAGE: Final = 2_000


class _Named(TypedDict):
    """Fields of a status that say whose training it is."""

    run: str
    search: schema.Search | None
    trial_id: str | None
    number: int | None
    execution: int
    attempt: int
    fit: int
    continues: str | None
    worker: str | None
    lineage: schema.Lineage | None
    hparams: list[HParam]


class TrainingLog:
    """Writes the records of one training.

    Args:
        run_dir: directory of the run's event file.
        run: the run's name.
        recorder: of the training.
        environment: the set-up of the training.
        trial: the tuner's trial, None for a plain `fit`.
        hparams: of a plain `fit`; a trial brings its own.
        notes: sentences on what cannot be watched; may grow while training goes on.
        clock: seconds since the epoch.
        earlier: the training of the same model before this one.
        place: the log directory as the user gave it; `run_dir` is in it.
        scoring: of a training that no tuner judges.

    Attributes:
        writes_hparams: whether it is among the trainings that the HParams tab lists.
        best_epoch: the epoch whose objective KerasTuner takes from this training.
    """

    def __init__(  # noqa: PLR0913 (what a training is known by)
        self,
        run_dir: str,
        run: str,
        recorder: Recorder,
        environment: TrainingSetup,
        trial: Trial | None = None,
        hparams: Sequence[HParam] = (),
        notes: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        place: str | None = None,
        earlier: Training | None = None,
        scoring: Scoring | None = None,
    ) -> None:
        self.id = uuid.uuid4().hex[:16]
        self.run = run
        self.run_dir = run_dir
        self.trial = trial
        self.earlier = earlier
        self.scoring = scoring
        self.fit = trial.fit if trial is not None else 0
        if trial is None and earlier is not None and earlier.run_dir == run_dir:
            self.fit = earlier.fit + 1
        self.hparams = list(trial.hparams if trial is not None else hparams)
        self.recorder = recorder
        self._place = place
        self.writer = EventWriter(run_dir, clock, place)
        self.epochs = 0
        self.environment = environment
        self._clock = clock
        self.started = clock()
        self._records = TrainingRecords(
            self.id, recorder, environment, notes, self.writer, self.started
        )
        self._status_at = 0.0
        self._beat_at = 0.0  # of the last status or heartbeat
        self._status_key: tuple[Any, ...] = ()
        self._onset: tuple[bool, float] | None = None  # whether finite, and when
        self.writes_hparams = False
        self.best_epoch: int | None = None
        self._post_mortem: schema.PostMortem | None = None

    # --- When -----------------------------------------------------------------

    def now(self) -> float:
        """Returns seconds since the epoch by the session's clock."""
        return self._clock()

    def begin(self) -> None:
        """Writes the first status, so that the run is seen before its first step."""
        self._write_status("running")

    def flush(self, force: bool = False) -> None:
        """Writes new records that are due.

        Args:
            force: write ranges and status whether due or not.
        """
        now = self._clock()
        if (
            self.writer.is_lost
        ):  # deleted under us: what names the probes is written again
            self.recorder.probes_changed = True
        self._records.write_session_if_changed()
        status, onset, _ = self.recorder.status()
        if onset is not None and status in schema.BAD_STATUSES:
            # What ends a training is a non-finite value, not a take-off before it.
            finite = status in schema.FINITE_STATUSES
            if self._onset is None or (self._onset[0] and not finite):
                self._onset = (finite, now)
        news = self._records.write_events()
        self._records.write_flight(last=force)
        self._records.write_ranges(now, force or news)
        key = (status, onset)
        if (
            force
            or key != self._status_key
            or now - self._status_at > self._status_due(now)
        ):
            self._status_key = key
            self._write_status("running")
        elif now - self._beat_at > _HEARTBEAT_SECONDS:
            self._beat_at = now
            self._records.write(
                schema.HeartbeatRecord(
                    self.id,
                    self._records.next_number("heartbeat"),
                    updated=now,
                    heartbeat=_HEARTBEAT_SECONDS,
                )
            )

    def _status_due(self, now: float) -> float:
        """Returns after how many seconds the status is written again."""
        share = _STATUS_SHARE * (now - self.started)
        return min(max(_STATUS_MIN_SECONDS, share), _STATUS_MAX_SECONDS)

    def end(
        self,
        state: State,
        *,
        stopped_by: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Writes everything that is left and the end of the run."""
        self.end_of_steps()
        self._write_status(state, stopped_by, error)
        if self.scoring is not None:
            self.scoring.say_what_is_missing()
        if self._records.written.get("trial"):
            # An exception was noticed late, after the tuner's verdict: nothing follows.
            self.writer.close()

    def _aside(self) -> float:
        """Returns the seconds of the post-mortem, which do not count as training."""
        return self._post_mortem.seconds if self._post_mortem is not None else 0.0

    def end_of_steps(self) -> None:
        """Writes all remaining measurements, once no step follows."""
        self.recorder.finish()
        self.flush(force=True)

    def facts(self) -> Facts:
        """Returns the facts for the diagnosis that have been written so far."""
        status, onset, origin = self.recorder.status()
        scale = self.recorder.loss_scale
        return Facts(
            status=status,
            onset=onset,
            origin=origin,
            steps=self.recorder.steps("train"),
            hparams=self.hparams,
            closest=dict(self.recorder.closest),
            inherited=self._began_with(),
            postmortem=self._post_mortem,
            session=self._records.described,
            ranges=self._records.ranges,
            flight=self._records.flights,
            scaling=Scaling(scale.skipped, scale.lost, scale.scale, scale.last_update)
            if scale is not None
            else None,
        )

    def _began_with(self) -> schema.Status | None:
        """Returns the status of the training that the weights came from."""
        if self.earlier is not None:
            return self.earlier.status
        trial = self.trial
        if trial is None or trial.lineage is None or trial.lineage.trial_id is None:
            return None
        return state_of(trial.tuner).statuses.get(trial.lineage.trial_id, "unwatched")

    def write_post_mortem(self, result: schema.PostMortem) -> None:
        """Writes the post-mortem of the failing step, and keeps it."""
        self._post_mortem = result
        self._records.write(
            schema.PostMortemRecord(
                self.id, self._records.next_number("postmortem"), result=result
            )
        )

    def made(self) -> str:
        """Returns the operation and line that the post-mortem named, "" where none."""
        return self._post_mortem.text if self._post_mortem is not None else ""

    def score(self) -> float | None:
        """Returns the score of a training without a tuner, None without one."""
        found = self.scoring.score() if self.scoring is not None else None
        return found.value if found is not None else None

    def write_metrics(self, score: float | None) -> None:
        """Writes the training's result for the HParams tab."""
        status, _, _ = self.recorder.status()
        for summary in hparams_log.metrics(status, score):
            self.writer.write_summary(summary)

    def write_verdict(self, verdict: Verdict) -> None:
        """Writes the tuner's verdict on this session's trial."""
        if self.trial is None:
            return
        with contextlib.suppress(Exception):  # of a place that cannot be read
            tuner.keep_identity(self.trial)
        status = self._records.status
        if status is not None:
            changed = status
            if status.search != self.trial.search:
                changed = replace(changed, search=self.trial.search)
            if verdict.error is not None and status.error_type is None:
                # It came after the training's end, or was not known then.
                kind, message = _told_of(verdict.error)
                changed = replace(
                    changed, state="failed", error_type=kind, error_message=message
                )
            if changed is not status:
                number = self._records.next_number("status")
                self._records.write(replace(changed, seq=number))
        self._records.write(
            schema.TrialRecord(
                self.id,
                self._records.next_number("trial"),
                search_id=self.trial.search.id,
                trial_id=self.trial.trial_id,
                tuner_status=verdict.status,
                score=verdict.score,
                best_step=verdict.best_step,
                message=verdict.message,
                aborted=verdict.aborted,
                own_best_epoch=self.best_epoch,
            )
        )
        if self.writes_hparams:
            self.write_metrics(verdict.score)
        self.writer.close()
        if self._records.status is not None:
            tuner.when_settled(
                self.trial,
                search_writer(self._records.status, self.writer.log_dir, self._place),
            )

    # --- The status -------------------------------------------------------------

    def _write_status(
        self,
        state: State,
        stopped_by: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        now = self._status_at = self._beat_at = self._clock()
        recorder, tracker = self.recorder, self.recorder.tracker
        status, onset, origin = recorder.status()
        scale = recorder.loss_scale
        error_type, error_message = _told_of(error)
        after = 0
        if status in schema.BAD_STATUSES and onset is not None:
            after = max(0, recorder.steps("train") - onset.step - 1)
        self._records.write(
            schema.StatusRecord(
                self.id,
                self._records.next_number("status"),
                **self._named(),
                state=state,
                stopped_by=stopped_by,
                error_type=error_type,
                error_message=error_message,
                started=self.started,
                updated=now,
                heartbeat=_HEARTBEAT_SECONDS,
                steps=recorder.steps("train"),
                epochs=self.epochs,
                epochs_planned=self.environment.epochs_planned,
                steps_after_onset=after,
                seconds_after_onset=now - self._onset[1] - self._aside()
                if self._onset and after
                else 0.0,
                status=status,
                onset=onset,
                origin=origin,
                contained=tracker.contained,
                num_episodes=tracker.count,
                recovered=recorder.fate.recovered,
                why_unwatched="",
                damage=recorder.damage,
                closest=recorder.closest,
                closest_in=recorder.closest_in,
                last_update=scale.last_update if scale is not None else None,
                lost_updates=scale.lost if scale is not None else 0,
                score=self.scoring.score() if self.scoring is not None else None,
                written=dict(self._records.written),
                **lane.arrays(recorder.lane()),
            )
        )

    def _named(self) -> _Named:
        """Returns the fields of a status that say whose training it is."""
        trial = self.trial
        return {
            "run": self.run,
            "search": trial.search if trial else None,
            "trial_id": trial.trial_id if trial else None,
            "number": trial.number if trial else None,
            "execution": trial.execution if trial else 0,
            "attempt": trial.attempt if trial else 0,
            "fit": self.fit,
            "continues": self.earlier.session_id if self.earlier else None,
            "worker": trial.worker if trial else None,
            "lineage": trial.lineage if trial else None,
            "hparams": self.hparams,
        }


def _told_of(error: BaseException | None) -> tuple[str | None, str | None]:
    """Returns the type and the message of the exception that ended the training."""
    if error is None:
        return None, None
    return type(error).__name__, without_noise(text_of(error))[:_MAX_MESSAGE]
