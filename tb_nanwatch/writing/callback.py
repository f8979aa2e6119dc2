"""NanWatch, the callback that conducts the writing side."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final, Literal

import keras

import tb_nanwatch
from tb_nanwatch.diagnosis import diagnose, position_text, tensor_text
from tb_nanwatch.errors import NanWatchWarning, NonFiniteError, UnsupportedError
from tb_nanwatch.postmortem import rebuild
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.schema import STATUSES, BadTensor, Position
from tb_nanwatch.text import clean
from tb_nanwatch.writing import capsules, earlier, untrained
from tb_nanwatch.writing import hparams as hparams_log
from tb_nanwatch.writing import tuner as tuners
from tb_nanwatch.writing import verdict as verdicts
from tb_nanwatch.writing.aftermath import examine
from tb_nanwatch.writing.probes import Instrument
from tb_nanwatch.writing.recorder import Recorder
from tb_nanwatch.writing.session import Environment, Session

OnNonFinite = Literal["record", "stop", "fail", "raise"]
_ON_NONFINITE: Final = ("record", "stop", "fail", "raise")


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
            directory of the whole search, elsewhere that of this one run.
        hparams: hyperparameters of this run, any mapping of names to numbers,
            strings or booleans. Not needed in a KerasTuner search, which brings its
            own; there the trial's values win.
        on_nonfinite: what to do at the first non-finite value that reaches a loss,
            the objective, or anything that persists (weights, optimizer slots, layer
            state). "record" goes on training; "stop" ends this training, and in a
            search makes the objective NaN, so that no score from before counts;
            "fail" ends the trial with KerasTuner's `FailedTrialError` (outside of a
            search it raises `NonFiniteError`); "raise" raises `NonFiniteError`.
        keep_score: with "stop", keeps the scores from before.
        activations_only: watches inputs, labels, layer outputs, predictions, losses
            and metrics, but no gradients, slots, weights and layer state.
        capsules: keeps the step at which a run went bad (its batch, and weights, slots
            and random state from before it) as a directory `nanwatch_capsule` beside
            the run's event file, for at most so many runs below `log_dir`; 0 keeps
            none. Capsules hold training data.
        capsule_bytes: the largest capsule that is kept.
        counterfactuals: at the end of a run that went bad, also tries what would have
            kept the failing step finite (a lower learning rate, scaled data, clipped
            gradients, ...); takes seconds.

    Raises:
        TypeError, ValueError: an argument is invalid.
        NonFiniteError: during training, with `on_nonfinite="raise"`.

    Example:
    ```python
    tuner = keras_tuner.RandomSearch(build, objective="val_loss", max_trials=20)
    tuner.search(x, y, validation_data=val, epochs=10, callbacks=[NanWatch("logs")])
    ```
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        hparams: Mapping[str, Any] | None = None,
        on_nonfinite: OnNonFinite = "record",
        keep_score: bool = False,
        activations_only: bool = False,
        capsules: int = 10,
        capsule_bytes: int = 512 << 20,
        counterfactuals: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(log_dir, str | os.PathLike):
            raise TypeError(
                f"log_dir must be a path; received {log_dir!r} of type "
                f"{type(log_dir).__name__}. Pass the directory to log to."
            )
        if hparams is not None and not isinstance(hparams, Mapping):
            raise TypeError(
                "hparams must be a mapping of names to values; received "
                f"{hparams!r:.200} of type {type(hparams).__name__}."
            )
        if on_nonfinite not in _ON_NONFINITE:
            raise ValueError(
                f"on_nonfinite must be one of {', '.join(map(repr, _ON_NONFINITE))}; "
                f"received {on_nonfinite!r}."
            )
        for name, value in (("capsules", capsules), ("capsule_bytes", capsule_bytes)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(
                    f"{name} must be an integer of at least 0; received {value!r}."
                )
        self.log_dir = os.fspath(log_dir)
        self.hparams = dict(hparams or {})
        self.on_nonfinite = on_nonfinite
        self.keep_score = keep_score
        self.activations_only = activations_only
        self.capsules = capsules
        self.capsule_bytes = capsule_bytes
        self.counterfactuals = counterfactuals
        self._watch: _Watch | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> NanWatch:
        # KerasTuner trains with deep copies. A copy starts afresh: what watches a
        # training (tensors, files, locks) is never shared.
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.hparams = dict(self.hparams)
        copy._watch = None
        copy._model = None
        # The copy is made before the model is built, which may fail.
        with contextlib.suppress(Exception):
            _expect_training(copy.log_dir)
        return copy

    # --- Keras' hooks ---------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Installs the probes and begins the run."""
        if self._watch is not None:  # a fit that died
            self._watch.end_with(None)
        self._watch = None
        try:
            self._watch = _Watch(self)
        except UnsupportedError as e:
            _warn(str(e))
        except Exception as e:
            _warn(
                f"NaN Watch could not install its probes and is off for this training: "
                f"{type(e).__name__}: {e}"
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes where the epoch begins."""
        self._guarded(lambda watch: watch.begin_epoch(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes what the epoch brought."""
        self._guarded(lambda watch: watch.end_epoch())

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
            except Exception as e:
                watch.abandon()
                _warn(f"NaN Watch could not end its run: {type(e).__name__}: {e}")

    def _guarded(self, do: Callable[[_Watch], None]) -> None:
        if self._watch is None:
            return
        try:
            do(self._watch)
        except Exception as e:
            self._watch.give_up(e)
            self._watch = None


class _Watch:
    """One training that is being watched."""

    def __init__(self, callback: NanWatch) -> None:
        self._options = callback
        self._model = callback.model
        callbacks = _callback_list()
        # Weakly: the model's hooks lead here, and would keep a fit alive that died.
        self._callbacks = (lambda: None) if callbacks is None else weakref.ref(callbacks)
        trial = tuners.current_trial()
        run = f"{trial.trial_id}/execution{trial.execution}" if trial else ""
        run_dir = _join(callback.log_dir, run)
        self._trial = trial
        self._run_dir = run_dir
        self._capsule: Capsule | None = None
        self._capsule_place = ""
        self._told = self._stopped = self._over = False
        self._recorder = Recorder(
            objectives=trial.objectives if trial else (),
            replicas=int(
                getattr(self._model.distribute_strategy, "num_replicas_in_sync", 1)
            ),
            loss_scale=_loss_scale(self._model),
            loss_scale_name=lambda: str(self._model.optimizer.dynamic_scale.path),
        )
        self._instrument = Instrument(
            self._model,
            self._recorder,
            activations_only=callback.activations_only,
            after_call=self._after_call,
            after_read=self._after_read,
            on_error=self.end_with,
            on_failure=self.give_up,
            capture_bytes=callback.capsule_bytes if callback.capsules else 0,
        )
        plain = tuners.plain_hparams(callback.hparams)
        if trial is not None:
            named = {h.name for h in trial.hparams}
            trial.hparams += [h for h in plain if h.name not in named]
        self._session = Session(
            run_dir,
            run or os.path.basename(os.path.normpath(callback.log_dir)),
            self._recorder,
            _environment(self._model, callback.params),
            trial,
            plain,
            self._instrument.notes,
            place=callback.log_dir,
            earlier=earlier.training_of(self._model),
        )
        self._training = earlier.Training(self._session.id, run_dir, self._session.fit)
        earlier.begin(self._model, self._training)
        self._instrument.install(callbacks or self)
        try:
            others = getattr(callbacks, "callbacks", ())
            self._writes_hparams = not hparams_log.written_by_others(others, run_dir)
            if self._writes_hparams and self._session.hparams:
                start = hparams_log.session_start(
                    self._session.hparams,
                    trial.trial_id if trial else None,
                    self._session.started,
                )
                self._session.writer.write_summary(start)
            self._session.begin()
            self._guard_callbacks(callbacks)
            if trial is not None:
                verdicts.when_trial_ends(
                    trial.tuner,
                    trial.trial_id,
                    _judge(weakref.ref(self), self._session),
                )
        except BaseException:
            self.abandon()
            raise

    def _guard_callbacks(self, callbacks: Any) -> None:
        """Has the run ended where an exception leaves another callback, or fit."""
        if callbacks is None:
            return
        for name in _GUARDED:
            _guard(callbacks, name, weakref.WeakMethod(self.end_with))
        # An exception anywhere else leaves only this trace: fit's list goes away.
        weakref.finalize(callbacks, _finalize, weakref.ref(self))

    # --- Training -------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        self._read()
        self._recorder.begin_epoch(epoch, self._instrument.steps("train"))
        self._session.epochs = epoch + 1

    def end_epoch(self) -> None:
        self._read()
        self._session.flush()

    def begin_validation(self) -> None:
        self._read()
        self._recorder.begin_validation(
            self._instrument.steps("validation"), self._instrument.steps("train")
        )

    def end_validation(self) -> None:
        self._read()
        self._recorder.end_validation()

    def _read(self) -> None:
        self._instrument.read()

    def _after_read(self) -> None:
        if self._trial is not None:
            tuners.keep_identity(self._trial)
        if self._recorder.wants_look():
            self._instrument.ask("train")
        self._session.flush()

    def _after_call(self) -> None:
        if self._recorder.is_bad and not self._told:
            self._told = True
            try:
                self._read()
                self._session.flush()
            except Exception as e:
                self.give_up(e)
            self._keep_capsule()
            self._act()

    def _keep_capsule(self) -> None:
        """Writes the step at which the run went bad, as soon as it is known."""
        capture = self._instrument.capture
        if capture is None:
            return
        try:
            if capture.too_large:
                self._note(
                    "no capsule was kept: model, optimizer and batch are larger than "
                    f"capsule_bytes={self._options.capsule_bytes:,}"
                )
            kept = capture.take()
            if kept is None:
                return
            self._capsule = capsules.make(
                kept, self._model, self._session, self._recorder
            )
            place = capsules.place_for(
                self._options.log_dir, self._run_dir, self._options.capsules
            )
            if self._capsule is not None and place is not None:
                self._capsule.write(place, self._options.capsule_bytes)
                self._capsule_place = str(place)
        except Exception as e:  # a capsule is never worth a training
            self._note(f"no capsule was kept: {type(e).__name__}: {e}")

    def _examine(self) -> None:
        """Runs the failing step again, once the model is no longer watched."""
        capsule, self._capsule = self._capsule, None
        if capsule is None:
            return
        began = time.monotonic()
        try:
            result = examine(
                self._model,
                capsule,
                activations_only=self._options.activations_only,
                try_changes=self._options.counterfactuals,
            )
            result.capsule = self._capsule_place
            result.own_code = rebuild.own_code(capsule)
            result.seconds = time.monotonic() - began
            self._session.write_post_mortem(result)
        except Exception as e:
            _warn(f"NaN Watch's post-mortem failed: {type(e).__name__}: {e}")

    def _note(self, note: str) -> None:
        self._instrument.notes.append(note)

    def _act(self) -> None:
        _, onset, origin = self._recorder.status()
        if onset is None or origin is None:
            return
        mode = self._options.on_nonfinite
        if mode in ("fail", "raise"):
            # The message is the last that is said: it can draw on everything.
            with contextlib.suppress(Exception):
                self._session.end_of_steps()
            self._take_out()
            self._examine()
        message = self._message(onset, origin)
        with contextlib.suppress(Exception):  # standard error may be closed
            print(f"\n{message}", file=sys.stderr, flush=True)
        if mode == "stop":
            self._stopped = True
            self._model.stop_training = True
        elif mode == "fail" and self._trial is not None:
            self._fail(tuners.failed_trial_error(message))
        elif mode in ("fail", "raise"):
            self._fail(NonFiniteError(message, step=onset.step))

    def _fail(self, error: Exception) -> None:
        self._end_failed(error)
        raise error

    def _message(self, onset: Position, origin: BadTensor) -> str:
        # Names may hold what a terminal would obey, and may be long.
        cause = clean(self._cause(), 1000)
        cause = f"{cause} " if cause else ""
        made = self._session.made()
        made = f"It comes from {clean(made, 1000)}. " if made else ""
        run, log_dir = clean(self._session.run), clean(self._options.log_dir, 4096)
        return (
            f"NaN Watch: {run} went bad at {position_text(onset)}: "
            f"{clean(tensor_text(origin), 400)}. {made}{cause}To see "
            f"why: tensorboard --logdir {log_dir} (tab NaN Watch), or tb-nanwatch "
            f"report {log_dir}"
        )

    def _cause(self) -> str:
        try:
            causes = diagnose(self._session.facts())
        except Exception:  # the message goes out all the same
            return ""
        if not causes or causes[0].id == "unknown":
            return ""
        name = causes[0].id.replace("_", " ")
        return f"Likely cause: {name} ({causes[0].confidence:.2f}). {causes[0].fix}"

    # --- The end --------------------------------------------------------------

    def end(self) -> None:
        """Ends a training that reached `on_train_end`."""
        if self._over:
            return
        self._read()
        self._take_out()
        self._examine()
        if self._trial is not None:
            if self._stopped and not self._options.keep_score:
                _unscore(self._model, self._trial.objectives)
            self._session.best_epoch = _best_epoch(self._model, self._trial.tuner)
        stopped_by = self._stopped_by()
        self._session.end("stopped" if stopped_by else "finished", stopped_by=stopped_by)
        self._close()

    def end_with(self, error: BaseException | None) -> None:
        """Ends a training that an exception leaves; None where it is not known."""
        if self._over:
            return
        with contextlib.suppress(Exception):  # what cannot be read is lost, no more
            self._read()
        self._take_out()
        if isinstance(error, Exception):  # whoever presses Ctrl-C does not want to wait
            self._examine()
        self._end_failed(error)

    def _end_failed(self, error: BaseException | None) -> None:
        try:
            self._session.end("failed", error=error)
            self._close()
        except Exception as e:
            _warn(f"NaN Watch could not end its run: {type(e).__name__}: {e}")

    def abandon(self) -> None:
        """Takes the probes out and writes no more."""
        self._take_out()
        self._session.writer.close()

    def give_up(self, error: Exception) -> None:
        """Ends watching, and only that, where watching itself fails."""
        if self._over:
            return
        self.abandon()
        _warn(
            f"NaN Watch stopped watching, training goes on: {type(error).__name__}: {error}"
        )

    def _take_out(self) -> None:
        self._over = True
        self._instrument.uninstall()
        self._training.status, _, _ = self._recorder.status()
        if self._trial is not None:
            statuses = verdicts.state_of(self._trial.tuner).statuses
            known = statuses.get(self._trial.trial_id, "unwatched")
            statuses[self._trial.trial_id] = max(
                known, self._training.status, key=STATUSES.index
            )

    def _close(self) -> None:
        if self._writes_hparams and self._session.hparams:
            self._session.writer.write_summary(
                hparams_log.session_end(not self._recorder.is_bad, self._session.now())
            )
        if self._trial is None:
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
                and self._recorder.is_bad
            ):
                return "TerminateOnNaN"
        return "model.stop_training"


_GUARDED: Final = (
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_test_end",
    "on_train_end",
)


def _guard(callbacks: Any, name: str, end_with: weakref.WeakMethod[Any]) -> None:
    method = getattr(callbacks, name)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except BaseException as e:
            end = end_with()
            if end is not None:
                end(e)
            raise

    callbacks.__dict__[name] = guarded


def _judge(watch: weakref.ref[_Watch], session: Session) -> verdicts.Listener:
    """Returns what logs the tuner's verdict on a training."""

    def judge(verdict: verdicts.Verdict) -> None:
        alive = watch()
        if alive is not None:  # an exception left fit unnoticed, e.g. as it began
            alive.end_with(None)
        session.write_verdict(verdict)

    return judge


def _finalize(watch: weakref.ref[_Watch]) -> None:
    alive = watch()
    if alive is not None:
        alive.end_with(None)


def _callback_list() -> Any:
    """Returns the `CallbackList` of the `fit` that calls, None elsewhere."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = (
            frame.f_locals.get("self")
            if frame.f_code.co_name == "on_train_begin"
            else None
        )
        if isinstance(owner, keras.callbacks.CallbackList):
            return owner
        frame = frame.f_back
    return None


def _join(log_dir: str, run: str) -> str:
    if not run:
        return log_dir
    if "://" in log_dir:
        return f"{log_dir.rstrip('/')}/{run}"
    return os.path.join(log_dir, *run.split("/"))


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


def _expect_training(log_dir: str) -> None:
    """Has the trial that is under way logged even where it comes to no training."""
    found = tuners.running_trial()
    if found is None:
        return
    tuner, trial = found
    began = time.time()

    def bury(ended: Any, attempt: int, verdict: verdicts.Verdict) -> None:
        try:
            known = tuners.trial_of(tuner, ended, 0, attempt)
            run = f"{known.trial_id}/execution0"
            untrained.write(_join(log_dir, run), run, known, verdict, began)
        except Exception as e:
            _warn(f"NaN Watch could not log a failed trial: {type(e).__name__}: {e}")

    verdicts.when_untrained_trial_ends(tuner, str(trial.trial_id), bury)


def _environment(model: Any, params: Mapping[str, Any] | None) -> Environment:
    versions = {
        "python": sys.version.split()[0],
        "tb_nanwatch": tb_nanwatch.__version__,
        "keras": keras.__version__,
    }
    for name in ("tensorflow", "keras_tuner", "numpy"):
        module = sys.modules.get(name)
        if module is not None:
            versions[name] = str(getattr(module, "__version__", ""))
    epochs = (params or {}).get("epochs")
    return Environment(
        model=f"{type(model).__name__} {model.name!r}",
        optimizer=_optimizer(model),
        loss=_loss_name(model),
        precision=str(getattr(model.dtype_policy, "name", "")),
        replicas=int(getattr(model.distribute_strategy, "num_replicas_in_sync", 1)),
        jit_compile=model.jit_compile is True,
        steps_per_execution=int(model.steps_per_execution),
        versions=versions,
        epochs_planned=epochs if isinstance(epochs, int) else None,
    )


def _optimizer(model: Any) -> dict[str, Any]:
    if model.optimizer is None:
        return {}
    try:
        config = dict(model.optimizer.get_config())
    except Exception:  # a user's own optimizer without a configuration
        config = {}
    return {"class_name": type(model.optimizer).__name__, **config}


def _loss_scale(model: Any) -> float | None:
    """Returns the scale of the loss as training begins, None where there is none."""
    optimizer = model.optimizer
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return None
    return float(
        optimizer.dynamic_scale.numpy() if optimizer.built else optimizer.initial_scale
    )


def _loss_name(model: Any) -> str:
    loss = getattr(model, "loss", None)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return str(name or loss or "")[:200]


def _warn(message: str) -> None:
    warnings.warn(message, NanWatchWarning, stacklevel=3)
