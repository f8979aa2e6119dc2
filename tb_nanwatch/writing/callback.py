# SPDX-License-Identifier: Apache-2.0
"""NanWatch, the callback: its options, and what Keras calls."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.compat.versions import say_if_untested
from tb_nanwatch.errors import NanWatchWarning, UnsupportedError, warn, warn_once
from tb_nanwatch.record.schema import Status
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.wording.trial_names import trial_name
from tb_nanwatch.writing import options
from tb_nanwatch.writing.log import untrained
from tb_nanwatch.writing.log.files import resolved, run_directory
from tb_nanwatch.writing.log.score import checked
from tb_nanwatch.writing.search import tuner as tuners
from tb_nanwatch.writing.search import verdict as verdicts
from tb_nanwatch.writing.supported import check_backend

if TYPE_CHECKING:
    from tb_nanwatch.writing.telling.bad_run import BadRun
    from tb_nanwatch.writing.watched import Watched

# KerasTuner's tuner, the log directory, how many trials, and the arguments of `fit`.
Confirmer = Callable[[Any, str, int, Sequence[Any], Mapping[str, Any]], str]


class NanWatch(keras.callbacks.Callback):
    """Watches every tensor of every training step for NaN and infinities.

    Add it to `tuner.search(..., callbacks=[NanWatch("logs")])` or to
    `model.fit(..., callbacks=[NanWatch("logs/run1", hparams={...})])`, then run
    `tensorboard --logdir logs` and open the tab *NaN Watch*, or
    `tb-nanwatch report logs`.

    In a KerasTuner search the callback finds trial, execution, values and search
    space by itself, and logs to `<log_dir>/<trial_id>/execution<k>`.

    The training is not changed: the same seed gives bit-identical weights with and
    without the callback. Nothing that goes wrong in watching ends a training: there
    is one `NanWatchWarning` and training goes on.

    Args:
        log_dir: where to log, as for `keras.callbacks.TensorBoard`. In a search the
            directory of the whole search, elsewhere that of this one run. A relative
            path is one below the working directory of this moment; "~" is expanded.
        hparams: hyperparameters of this run, any mapping of names to numbers,
            strings or booleans. Not needed in a KerasTuner search, which brings its
            own; there the trial's values win.
        on_nonfinite: what to do at the first non-finite value that reaches a loss,
            the objective (outside of a search a metric that another callback goes by, such
            as `EarlyStopping`), or anything that persists (weights, optimizer slots, layer
            state). "record" goes on training; "stop" ends this training, and in a
            search makes the objective NaN, so that no score from before counts;
            "fail" ends the trial with KerasTuner's `FailedTrialError` (outside of a
            search it raises `NonFiniteError`); "raise" raises `NonFiniteError`. None of
            them acts on a run that stays finite: a runaway, or one that stalled (in mixed
            precision most steps are skipped and nothing is learnt). Its weights and
            scores are as good as before; a line on standard error says that it stalled.
        keep_score: with "stop", keeps the scores from before.
        activations_only: watches inputs, labels, layer outputs, predictions, losses
            and metrics, but no gradients, slots, weights and layer state.
        capsules: keeps the step at which a run went bad or stalled (its batch, and weights, slots
            and random state from before it) as a directory `nanwatch_capsule` beside
            the run's event file, for at most so many runs below `log_dir`; 0 keeps
            none. Capsules hold training data.
        capsule_bytes: the largest capsule that is kept.
        rewind_bytes: memory for states and batches, from which steps can be run again
            once the run has gone bad; by default 256 MB, or a tenth of the free memory
            where that is less; 0 keeps nothing.
        experiments: seconds for which a run that went bad is run again at its end, from
            memory, with one thing changed at a time (a lower learning rate, scaled data,
            clipped gradients, ...); in a search for all its runs together, or 5 % of its
            time so far where that is more; 0 tries nothing.
        on_bad: is called with a `BadRun` (its answer, step, hyperparameters) once a run
            that went bad has ended and was looked into, e.g. to send it to a webhook;
            `to_dict()` makes JSON of it. What it raises is one warning.
        confirm: at the end of a KerasTuner search whose trials hint at a condition on
            hyperparameters and do not prove it, so many short extra trials test it, half
            of them on each side; 0, by default, trains none. At least 6, or they can
            prove nothing; what is no such number is 0 with a warning. Not in a
            distributed search, and not where a `HyperModel.fit` or `run_trial` of the
            user's trains. Other callbacks are left out of them.
        score: outside of a KerasTuner search, the metric in the logs of fit by which the
            runs of one directory are compared: that of the last epoch. By default the
            validation loss, or else the loss. Whether more is better is known of losses
            and Keras' own metrics, e.g. "val_accuracy"; of others say so, e.g.
            `("val_f1", "max")`. In a search the tuner's objective is the score.

    Raises:
        TypeError, ValueError: an argument is invalid.
        NonFiniteError: during training, with `on_nonfinite="raise"`.

    Example:
    ```python
    tuner = keras_tuner.RandomSearch(build, objective="val_loss", max_trials=20)
    tuner.search(x, y, validation_data=val, epochs=10, callbacks=[NanWatch("logs")])
    ```
    """

    # Trains what `confirm` asks for. It needs the report, of which nothing here knows: so
    # whoever knows both, the package, sets it.
    confirmer: ClassVar[Confirmer | None] = None

    def __init__(  # noqa: PLR0913 (each an option)
        self,
        log_dir: str | os.PathLike[str],
        *,
        hparams: Mapping[str, Any] | None = None,
        on_nonfinite: options.OnNonFinite = "record",
        keep_score: bool = False,
        activations_only: bool = False,
        capsules: int = 10,
        capsule_bytes: int = 512 << 20,
        rewind_bytes: int | None = None,
        experiments: float = 10.0,
        on_bad: Callable[[BadRun], object] | None = None,
        confirm: int = 0,
        score: str | tuple[str, str] | None = None,
        **removed: Any,
    ) -> None:
        super().__init__()
        options.refuse_unknown(removed)
        options.check_seconds("experiments", experiments)
        options.check_types(log_dir, hparams, on_bad)
        options.check_on_nonfinite(on_nonfinite)
        options.check_at_least_0(
            capsules=capsules,
            capsule_bytes=capsule_bytes,
            rewind_bytes=0 if rewind_bytes is None else rewind_bytes,
        )
        self.given_log_dir = os.fsdecode(log_dir)
        self.log_dir = resolved(self.given_log_dir)
        self.hparams = dict(hparams or {})
        self.on_nonfinite = on_nonfinite
        self.keep_score = keep_score
        self.activations_only = activations_only
        self.capsules = capsules
        self.capsule_bytes = capsule_bytes
        self.rewind_bytes = rewind_bytes
        self.experiments = float(experiments)
        self.on_bad = on_bad
        self.confirm = options.trials_to_confirm(confirm)
        self.score = checked(score)
        self.silent = False  # no option: for what runs trainings of its own
        self.status: Status | None = None  # as of the last look, or the training's end
        self._watch: Watched | None = None
        self._fate = untrained.UntrainedFate()
        verdicts.watch_trials(_trial_begins, searches=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> NanWatch:
        # KerasTuner trains with deep copies. A copy starts afresh: what watches a
        # training (tensors, files, locks) is never shared.
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.hparams = dict(self.hparams)
        copy._watch = None  # noqa: SLF001
        copy.set_model(None)
        # The copy is made before the model is built, which may fail.
        with contextlib.suppress(Exception):
            found = tuners.running_trial()
            # KerasTuner may be imported by now.
            verdicts.watch_trials(_trial_begins, searches=found is not None)
            if found is not None:
                copy._fate = _expect_training(copy.log_dir, *found)  # noqa: SLF001
        return copy

    # --- Keras' hooks ---------------------------------------------------------

    def set_model(self, model: Any) -> None:
        """Takes the model that is to be trained."""
        super().set_model(model)
        self._fate.why = untrained.OWN_LOOP  # until training begins

    def on_train_begin(self, logs: Any = None) -> None:
        """Installs the probes and begins the run."""
        if self._watch is not None:  # a fit that died
            self._watch.end_with(None)
        self._watch = None
        try:
            check_backend()
            # Not before: on another backend TensorFlow may not be installed.
            from tb_nanwatch.writing.watched import Watched

            self._watch = Watched(self)
            say_if_untested()
        except MissingError as e:
            e.warn()
        except UnsupportedError as e:
            self._fate.why = str(e).rstrip(".")
            warn_once(str(e))
        except Exception as e:
            self._fate.why = (
                f"NaN Watch: NOT watching: its probes could not be installed "
                f"({of_error(e)}); training goes on"
            )
            warn(self._fate.why)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes where the epoch begins."""
        self._guarded(lambda watch: watch.begin_epoch(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the measurements of the epoch."""
        self._guarded(lambda watch: watch.end_epoch(epoch, logs))

    def on_test_begin(self, logs: Any = None) -> None:
        """Notes where a validation pass begins."""
        self._guarded(lambda watch: watch.begin_validation())

    def on_test_end(self, logs: Any = None) -> None:
        """Closes the validation pass."""
        self._guarded(lambda watch: watch.end_validation())

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the probes out and ends the run."""
        watch, self._watch = self._watch, None
        if watch is not None:
            try:
                watch.end()
                self.status, _ = watch.judge()
            except Exception as e:
                watch.abandon()
                warn(f"NaN Watch could not end its run: {type(e).__name__}: {e}")

    def look(self) -> None:
        """Sets `status` to the training's current status."""

        def judge(watch: Watched) -> None:
            self.status, _ = watch.judge()

        self._guarded(judge)

    def _guarded(self, do: Callable[[Watched], None]) -> None:
        if self._watch is None or self._watch.over:
            return
        try:
            do(self._watch)
        except Exception as e:
            self._watch.give_up(e)
            self._watch = None


def _trial_begins(
    tuner: Any, trial: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Logs the current trial even if it never trains, and schedules the hint's confirmation."""
    with contextlib.suppress(Exception):
        for callback in kwargs.get("callbacks") or ():
            if isinstance(callback, NanWatch):
                fate = _expect_training(callback.log_dir, tuner, trial)
                callback._fate = fate  # noqa: SLF001
                _expect_confirmation(callback, tuner, args, kwargs)


def _expect_confirmation(
    callback: NanWatch, tuner: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Schedules extra trials that test the search's hint at its end, if the user asked for them."""
    confirmer, count, log_dir = (
        type(callback).confirmer,
        callback.confirm,
        callback.log_dir,
    )
    if not count or confirmer is None:
        return
    tried = weakref.ref(tuner)  # the stored function must not keep the tuner alive

    def confirm() -> str:
        alive = tried()
        return confirmer(alive, log_dir, count, args, kwargs) if alive is not None else ""

    verdicts.state_of(tuner).confirm = confirm


def _expect_training(log_dir: str, tuner: Any, trial: Any) -> untrained.UntrainedFate:
    """Makes sure that the current trial is logged even if it never trains.

    Returns:
        Why it did not, which whoever knows more changes.
    """
    fate = untrained.UntrainedFate()
    began = time.time()

    def bury(ended: Any, attempt: int, execution: int, verdict: verdicts.Verdict) -> None:
        try:
            known = tuners.trial_of(tuner, ended, execution, attempt)
            run = f"{known.trial_id}/execution{execution}"
            place = run_directory(log_dir, run)
            untrained.write(place, run, known, verdict, began, fate.why)
        except Exception as e:
            warn(f"NaN Watch could not log a failed trial: {type(e).__name__}: {e}")
            return
        silent = fate.why in (untrained.DROPPED, untrained.OWN_LOOP)
        if silent and not verdict.message and verdicts.is_first_lost(tuner):
            with contextlib.suppress(NanWatchWarning):  # where warnings are errors
                warn(
                    f"NaN Watch saw nothing of "
                    f"{trial_name(known.trial_id, known.number)}: {fate.why}."
                )

    verdicts.when_untrained_trial_ends(tuner, str(trial.trial_id), bury)
    return fate
