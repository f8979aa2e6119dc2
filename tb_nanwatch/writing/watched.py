# SPDX-License-Identifier: Apache-2.0
"""One training that is being watched, from its beginning to its end."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras

from tb_nanwatch.compat import tensorboard
from tb_nanwatch.compat.keras import replicas_of
from tb_nanwatch.compat.names import Feature, has
from tb_nanwatch.errors import NonFiniteError, warn
from tb_nanwatch.record.schema import STATUSES, Position, Status
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.writing import earlier, examination
from tb_nanwatch.writing.backends.chosen import backend
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.guards import guard, running_fit
from tb_nanwatch.writing.log import hparams as hparams_log
from tb_nanwatch.writing.log.environment import (
    environment_of,
    loss_scale_name,
    loss_scale_of,
)
from tb_nanwatch.writing.log.files import run_directory
from tb_nanwatch.writing.log.score import Scoring, Wanted
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.recording.recorder import Recorder
from tb_nanwatch.writing.rewind import default_bytes
from tb_nanwatch.writing.search import tuner as tuners
from tb_nanwatch.writing.search import verdict as verdicts
from tb_nanwatch.writing.supported import check_model
from tb_nanwatch.writing.telling import notebook
from tb_nanwatch.writing.telling.bad_run import BadRun
from tb_nanwatch.writing.telling.said import Speaker
from tb_nanwatch.writing.values import MAX_HPARAMS, plain_hparams

# Keras' own callbacks that write the weights of an epoch.
_SAVING = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)


class CallbackOptions(examination.Options, Protocol):
    """The callback's options, and the objects that Keras gave to the callback."""

    given_log_dir: str
    hparams: dict[str, Any]
    on_nonfinite: str
    keep_score: bool
    rewind_bytes: int | None
    silent: bool
    on_bad: Callable[[BadRun], object] | None
    score: Wanted

    @property
    def model(self) -> Any:
        """The model that is being fitted."""

    @property
    def params(self) -> Any:
        """Of the fit: a mapping, or None."""


class Watched:
    """One training that is being watched.

    Attributes:
        over: watching has ended, with the training or before it.
    """

    def __init__(self, callback: CallbackOptions) -> None:
        self._backend = backend()
        check_model(callback.model)  # the code below relies on a model of Keras 3
        self._backend.check_model(callback.model)
        self._options = callback
        self._model = callback.model
        caller = running_fit()
        callbacks = caller.callbacks if caller is not None else None
        # Weakly: the model's hooks lead here, and would keep a fit alive that died.
        self._callbacks = (lambda: None) if callbacks is None else weakref.ref(callbacks)
        self._trial = trial = tuners.current_trial()
        self.over = self._told = self._told_stall = self._stopped = False
        self._recorder = Recorder(
            objectives=trial.objectives if trial else _monitored(callbacks),
            replicas=replicas_of(self._model),
            loss_scale=loss_scale_of(self._model),
            loss_scale_name=lambda: loss_scale_name(self._model),
        )
        self._instrument = self._backend.watch(
            self._model, self._recorder, self._wishes()
        )
        self._session = self._new_session()
        self._examination = examination.Examination(
            callback,
            self._model,
            self._session,
            self._backend,
            self._instrument,
            caller.given if caller is not None else None,
        )
        self._speaker = Speaker(
            self._session, callback.log_dir, callback.given_log_dir, callback.silent
        )
        self._training = earlier.Training(
            self._session.id, self._session.run_dir, self._session.fit
        )
        earlier.begin(self._model, self._training)
        self._instrument.install(caller or Caller(self))
        try:
            self._begin(callbacks)
        except BaseException:
            self.abandon()
            raise

    def _wishes(self) -> Wishes:
        """Returns how the training should be watched, and the functions to call back."""
        given = self._options
        kept = given.rewind_bytes
        return Wishes(
            activations_only=given.activations_only,
            after_call=self._after_call,
            after_read=self._after_read,
            on_error=self.end_with,
            on_failure=self.give_up,
            acts=given.on_nonfinite != "record",
            capture_bytes=given.capsule_bytes if given.capsules else 0,
            rewind_bytes=default_bytes() if kept is None else kept,
        )

    def _new_session(self) -> TrainingLog:
        """Returns where the training is logged; a trial gets the callback's values, too."""
        given, trial = self._options, self._trial
        run = f"{trial.trial_id}/execution{trial.execution}" if trial else ""
        plain = plain_hparams(given.hparams)
        if len(given.hparams) > MAX_HPARAMS:
            self._note(
                f"of {len(given.hparams):,} hyperparameters the first {MAX_HPARAMS:,} "
                "are kept"
            )
        if trial is not None:
            named = {h.name for h in trial.hparams}
            trial.hparams += [h for h in plain if h.name not in named]
        return TrainingLog(
            run_directory(given.log_dir, run),
            run or os.path.basename(os.path.normpath(given.log_dir)),
            self._recorder,
            environment_of(self._model, given.params),
            trial,
            plain,
            self._instrument.notes,
            place=given.log_dir,
            earlier=earlier.training_of(self._model),
            scoring=None if trial else Scoring(given.score, self._model),
        )

    def _begin(self, callbacks: Any) -> None:
        """Logs the beginning of the training, and arranges that its end is noticed.

        Args:
            callbacks: Keras' list of the running `fit`, or None.
        """
        session, trial = self._session, self._trial
        others = getattr(callbacks, "callbacks", ())
        session.writes_hparams = (
            not hparams_log.written_by_others(others, session.run_dir)
            and bool(session.hparams)
            and has(Feature.HPARAMS_WRITTEN)
        )
        if session.writes_hparams:
            start = hparams_log.session_start(
                session.hparams,
                hparams_log.group_of(trial.search, trial.trial_id) if trial else None,
                session.started,
            )
            session.writer.write_summary(start)
        session.begin()
        notebook.when_cell_ends(self)
        self._speaker.began()
        if callbacks is not None:
            self._speaker.saves = any(isinstance(c, _SAVING) for c in others)
            guard(callbacks, self)
        if trial is not None:
            state = verdicts.state_of(trial.tuner)
            state.at_end = self._speaker.search_ended(state)
            verdicts.when_trial_ends(
                trial.tuner, trial.trial_id, _judge(weakref.ref(self), session)
            )

    # --- Training -------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Notes where an epoch begins; epochs count from 0."""
        self._read()
        self._recorder.begin_epoch(epoch, self._instrument.steps("train"))
        self._session.epochs = epoch + 1

    def end_epoch(self, epoch: int, logs: Mapping[str, Any] | None) -> None:
        """Writes the measurements of the epoch; epochs count from 0."""
        self._read()
        if self._session.scoring is not None:
            self._session.scoring.note(epoch, logs)
        self._session.flush()

    def begin_validation(self) -> None:
        """Notes where a validation pass begins."""
        self._read()
        self._recorder.begin_validation(
            self._instrument.steps("validation"), self._instrument.steps("train")
        )

    def end_validation(self) -> None:
        """Closes the validation pass."""
        self._read()
        self._recorder.end_validation()
        self._instrument.validated()

    def judge(self) -> tuple[Status, Position | None]:
        """Returns how the training fares by now, and where it began to go bad."""
        if not self.over:
            self._read()
        status, onset, _ = self._recorder.status()
        return status, onset

    def _read(self) -> None:
        self._instrument.read()

    def _after_read(self) -> None:
        if self._trial is not None:
            tuners.keep_identity(self._trial)
        if self._recorder.wants_look():
            self._instrument.ask("train")
        self._session.flush()

    def _after_call(self) -> Exception | None:
        """Acts once the run has gone bad; returns the exception that should end it."""
        if self._recorder.fate.has_stalled and not (self._told or self._told_stall):
            self._tell_stall()
        if not self._recorder.fate.is_bad or self._told:
            return None
        self._read()
        self._session.flush()
        self._keep_bad_step()
        return self._act()

    def _keep_bad_step(self) -> None:
        """Keeps the step at which the run went bad, and the states and batches to run it again."""
        self._told = True
        self._instrument.went_bad()
        self._examination.keep()

    def _tell_stall(self) -> None:
        """Says that the run has stalled, and keeps the step at which that began.

        No option ends it: what it has learnt, and its scores, are as good as before.
        """
        self._told_stall = True
        self._read()
        self._session.flush()
        if self._recorder.fate.is_bad:
            return  # by now it is worse than that
        self._examination.keep(last=False)
        _, onset, origin = self._recorder.status()
        if onset is not None:
            self._speaker.went_bad(onset, origin, "record")

    def _note(self, note: str) -> None:
        self._instrument.notes.append(note)

    def _act(self) -> Exception | None:
        _, onset, origin = self._recorder.status()
        if onset is None or origin is None:
            return None
        mode = self._options.on_nonfinite
        if mode in ("fail", "raise"):
            # The message is the last that is said: it can draw on everything.
            with contextlib.suppress(Exception):
                self._session.end_of_steps()
            self._take_out()
            self._examination.run()
        if mode not in ("fail", "raise"):
            self._speaker.went_bad(onset, origin, mode)
        if mode == "stop":
            self._stopped = True
            self._model.stop_training = True
        if mode not in ("fail", "raise"):
            return None
        message = self._speaker.error_text(onset, origin)
        with contextlib.suppress(Exception):  # it is in the message all the same
            self._speaker.raises()
        error: Exception
        if mode == "fail" and self._trial is not None:
            error = tuners.failed_trial_error(message)
        else:
            error = NonFiniteError(message, step=onset.step)
        self._end_failed(error)
        self._tell_bad()
        return error

    # --- The end --------------------------------------------------------------

    def end(self) -> None:
        """Ends a training that reached `on_train_end`."""
        if self.over:
            return
        self._read()
        if self._recorder.fate.has_stalled and not (self._told or self._told_stall):
            self._tell_stall()
        self._see_late()
        self._take_out()
        self._examination.run()
        if self._trial is not None:
            if self._stopped and not self._options.keep_score:
                _unscore(self._model, self._trial.objectives)
            self._session.best_epoch = _best_epoch(self._model, self._trial.tuner)
        stopped_by = self._stopped_by()
        self._session.end("stopped" if stopped_by else "finished", stopped_by=stopped_by)
        self._close()
        self._say_end()

    def end_with(self, error: BaseException | None) -> None:
        """Ends a training that an exception leaves; None where it is not known."""
        if self.over:
            return
        with contextlib.suppress(Exception):  # what cannot be read is lost, no more
            self._read()
        self._see_late()
        self._take_out()
        if isinstance(error, Exception):  # after Ctrl-C nobody wants to wait
            self._examination.run()
        self._end_failed(error)
        self._say_end()

    def _say_end(self) -> None:
        with contextlib.suppress(Exception):  # it is in the log all the same
            self._speaker.ended()
        self._tell_bad()

    def _tell_bad(self) -> None:
        """Calls the user's `on_bad` function with the run that went bad."""
        on_bad = self._options.on_bad
        if on_bad is None:
            return
        try:
            run = self._speaker.bad_run()
            if run is not None:
                on_bad(run)
        except Exception as e:
            warn(f"on_bad failed, training goes on: {of_error(e)}")

    def _end_failed(self, error: BaseException | None) -> None:
        try:
            self._session.end("failed", error=error)
            self._close()
        except Exception as e:
            warn(f"NaN Watch could not end its run: {type(e).__name__}: {e}")

    def abandon(self) -> None:
        """Takes the probes out and writes no more."""
        self._take_out()
        self._session.writer.close()

    def give_up(self, error: Exception) -> None:
        """Ends watching, and only that, where watching itself fails."""
        if self.over:
            return
        self.abandon()
        warn(
            f"NaN Watch stopped watching, training goes on: {type(error).__name__}: {error}"
        )

    def _see_late(self) -> None:
        """Keeps the bad step of a run whose last reading was the first to show that it went bad."""
        if self._recorder.fate.is_bad and not self._told:
            with contextlib.suppress(Exception):  # the log is as good without
                self._keep_bad_step()

    def _take_out(self) -> None:
        self.over = True
        with contextlib.suppress(Exception):  # the end of the log says so
            # The last steps may yet decide: a run can come back to where it was.
            self._recorder.finish()
        self._examination.take_tape()
        self._instrument.uninstall()
        self._training.status, _, _ = self._recorder.status()
        if self._trial is not None:
            statuses = verdicts.state_of(self._trial.tuner).statuses
            known = statuses.get(self._trial.trial_id, "unwatched")
            statuses[self._trial.trial_id] = max(
                known, self._training.status, key=STATUSES.index
            )

    def _close(self) -> None:
        if self._session.writes_hparams:
            self._session.writer.write_summary(
                tensorboard.session_end(
                    not self._recorder.fate.is_bad, self._session.now()
                )
            )
        if self._trial is None:
            if self._session.writes_hparams:
                self._session.write_metrics(self._session.score())
            self._session.writer.close()

    def _stopped_by(self) -> str | None:
        if self._stopped:
            return "NanWatch"
        if not self._model.stop_training:
            return None
        for callback in getattr(self._callbacks(), "callbacks", ()):
            if getattr(callback, "stopped_epoch", 0):
                return type(callback).__name__
            if (
                isinstance(callback, keras.callbacks.TerminateOnNaN)
                and self._recorder.fate.is_bad
            ):
                return "TerminateOnNaN"
        return "model.stop_training"


def _monitored(callbacks: Any) -> list[str]:
    """Returns the metrics that the fit's callbacks monitor, for early stopping or the best model."""
    return [
        monitor
        for callback in getattr(callbacks, "callbacks", ())
        if isinstance(monitor := getattr(callback, "monitor", None), str)
        # Keras' checkpoints have a name of a metric where they take no notice of it, too.
        and getattr(callback, "save_best_only", True)
    ]


def _judge(watch: weakref.ref[Watched], session: TrainingLog) -> verdicts.Listener:
    """Returns a function that logs the tuner's verdict on a training."""

    def judge(verdict: verdicts.Verdict) -> None:
        alive = watch()
        if alive is not None:  # an exception left fit unnoticed, e.g. as it began
            alive.end_with(verdict.error)
        session.write_verdict(verdict)

    return judge


def _unscore(model: Any, objectives: list[str]) -> None:
    """Makes the objective NaN in every epoch, so that the tuner keeps no score."""
    history = getattr(getattr(model, "history", None), "history", {})
    for name in objectives:
        if name in history:
            history[name] = [float("nan")] * len(history[name])


def _best_epoch(model: Any, tuner: Any) -> int | None:
    history = getattr(getattr(model, "history", None), "history", {})
    try:
        return tuners.best_epoch(history, tuner)
    except Exception:  # a user's own objective may want more than the metrics
        return None
