# SPDX-License-Identifier: Apache-2.0
"""Catches the tuner's verdict after a trial has ended, and passes it on to the trial's runs.

The verdict falls in `oracle.end_trial`, after the callback's last hook. So the tuner's
own `on_trial_end` is wrapped, on that one object and until its search ends.

A FatalError, or Ctrl-C, leaves the search without that call. So KerasTuner's method that
runs a trial is wrapped as well. It is wrapped in the class: when the first trial shows that
there is a NanWatch, the object's own method is running already. In a search without NanWatch
the wrapper does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tb_nanwatch.compat import kerastuner
from tb_nanwatch.compat.kerastuner import own_oracle
from tb_nanwatch.diagnosis.answer import Answer
from tb_nanwatch.diagnosis.shared import Standing
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.record.schema import JSONScalar, Status
from tb_nanwatch.record.strict_json import text_of
from tb_nanwatch.wording import abort_text
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.wording.text import clean
from tb_nanwatch.wording.trial_names import number_of, trial_name
from tb_nanwatch.writing.search import identities
from tb_nanwatch.writing.search.alike import Alike

# The reason in it is a message of somebody's exception.
_MAX_ADVICE = 2_000
# The share of a search's time that experiments may take.
_TRY_SHARE = 0.05


@dataclass
class Verdict:
    """The tuner's verdict on a trial that has ended."""

    status: str
    score: float | None
    best_step: int | None
    message: str | None
    aborted: str | None
    # What ended the search within the trial, past KerasTuner.
    error: BaseException | None = None


Listener = Callable[[Verdict], None]
# Writes the run of an execution that ended before any training: KerasTuner's trial, its
# attempt, the execution, the verdict.
Undertaker = Callable[[Any, int, int, Verdict], None]
# Hears of KerasTuner's tuner and trial, and of what it hands on to `fit`.
Beginning = Callable[[Any, Any, Sequence[Any], Mapping[str, Any]], None]


@dataclass
class _Runs:
    attempt: int = 0
    executions: int = 0
    # Trainings so far of each execution.
    fits: dict[int, int] = field(default_factory=dict)
    # Whether a training is still to begin.
    expects: bool = False
    ended: bool = False


class TrialAnswer(NamedTuple):
    """The answer about a trial that went bad.

    Attributes:
        name: "Trial #3".
        answer: its own.
        standing: what decides whether it answers for others.
        session: id of the training that went bad.
        grade: `diagnosis.shared.grade` of that, among the trainings of the trial.
    """

    name: str
    answer: Answer
    standing: Standing
    session: str = ""
    grade: tuple[bool, int] = (True, 0)


@dataclass
class TunerState:
    """The state that is kept for one tuner between its trials."""

    runs: dict[str, _Runs] = field(default_factory=dict)
    # The status of each training of a trial at its end.
    statuses: dict[str, Status] = field(default_factory=dict)
    # The hyperparameters of these, by trial and name; those that were active.
    values: dict[str, dict[str, JSONScalar]] = field(default_factory=dict)
    # The answers of the trials that went bad, by trial.
    answers: dict[str, TrialAnswer] = field(default_factory=dict)
    hooked: bool = False
    listeners: dict[str, list[Listener]] = field(default_factory=dict)
    undertakers: dict[str, Undertaker] = field(default_factory=dict)
    advised: bool = False
    warned: bool = False
    # Called at the search's end, the first before the second.
    confirm: Callable[[], str] = lambda: ""
    at_end: Callable[[], None] = lambda: None
    # What short extra trials made of the search's hint, in a sentence.
    confirmed: str = ""
    began: float = field(default_factory=time.monotonic)
    # Seconds that experiments and post-mortems took.
    tried_for: float = 0.0
    # What experiments on its runs came to.
    alike: Alike = field(default_factory=Alike)

    def say_end(self, by_hand: bool = False) -> None:
        """Prints the search's result, once.

        Args:
            by_hand: somebody ended it, who does not want to wait for more trials.
        """
        confirm, self.confirm = self.confirm, lambda: ""
        say, self.at_end = self.at_end, lambda: None
        try:
            if not by_hand:
                with contextlib.suppress(Exception):  # where warnings are errors
                    self.confirmed = confirm()
        finally:
            with contextlib.suppress(Exception):  # it is in the log all the same
                say()

    def seconds_to_try(self, at_least: float) -> float:
        """Returns the seconds that experiments may take now.

        Args:
            at_least: that those of the whole search may take, however short it is.
        """
        if not at_least:
            return 0.0
        allowed = max(at_least, _TRY_SHARE * (time.monotonic() - self.began))
        return max(0.0, allowed - self.tried_for)

    def begin(self, trial_id: str, execution: int | None) -> tuple[int, int, int]:
        """Notes that a training of the trial begins.

        Args:
            trial_id: the trial's.
            execution: which one the tuner is at, from 0; None where it has no
                executions of its own, and every training counts as one.

        Returns:
            attempt, execution, and which training of the execution it is; all from 0.
        """
        runs = self.attempt(trial_id)
        if execution is None:
            execution = runs.executions
        runs.executions = max(runs.executions, execution + 1)
        fit = runs.fits.get(execution, 0)
        runs.fits[execution] = fit + 1
        runs.expects = False
        return runs.attempt, execution, fit

    def attempt(self, trial_id: str) -> _Runs:
        """Returns the runs of the attempt at the trial that is under way."""
        runs = self.runs.setdefault(trial_id, _Runs())
        if runs.ended:  # the oracle gave the same trial out again: a retry
            runs.attempt, runs.executions, runs.ended = runs.attempt + 1, 0, False
            runs.fits.clear()
            # Only the latest attempt counts, as in the report.
            self.statuses.pop(trial_id, None)
            self.answers.pop(trial_id, None)
        return runs


_STATES: weakref.WeakKeyDictionary[Any, TunerState] = weakref.WeakKeyDictionary()


def state_of(tuner: Any) -> TunerState:
    """Returns the state of `tuner`, kept for as long as the tuner lives."""
    if tuner not in _STATES:
        _STATES[tuner] = TunerState()
    return _STATES[tuner]


def when_trial_ends(tuner: Any, trial_id: str, listener: Listener) -> None:
    """Calls `listener` with the tuner's verdict after the trial has ended.

    It is told when `end_trial` raises too, as it does to abort a search.
    """
    state = state_of(tuner)
    state.listeners.setdefault(trial_id, []).append(listener)
    _hook(tuner, state)


def when_untrained_trial_ends(tuner: Any, trial_id: str, bury: Undertaker) -> None:
    """Calls `bury` if the trial ends without a training that `when_trial_ends` heard of.

    So a trial whose model cannot be built is logged, too.
    """
    state = state_of(tuner)
    state.attempt(trial_id).expects = True
    state.undertakers[trial_id] = bury
    _hook(tuner, state)


def _hook(tuner: Any, state: TunerState) -> None:
    if state.hooked:
        return
    state.hooked = True
    original_end, original_search_end = tuner.on_trial_end, tuner.on_search_end

    def on_trial_end(ended: Any) -> None:
        aborted: str | None = None
        try:
            original_end(ended)
        except BaseException as e:
            aborted = _exception_text(e)
            _unhook(tuner, state)
            raise
        finally:
            try:
                _tell(tuner, state, ended, aborted)
            except Exception as e:
                _warn_of_trial(str(ended.trial_id), e)
            if aborted is not None:
                state.say_end()

    def on_search_end() -> None:
        _unhook(tuner, state)
        with contextlib.suppress(Exception):  # of a place that cannot be read
            identities.of(tuner, now=True)
        original_search_end()
        state.say_end()

    tuner.__dict__["on_trial_end"] = on_trial_end
    tuner.__dict__["on_search_end"] = on_search_end


def is_first_lost(tuner: Any) -> bool:
    """Returns whether this is the tuner's first trial without a watched training."""
    state = state_of(tuner)
    first, state.warned = not state.warned, True
    return first


def watch_trials(begins: Beginning, *, searches: bool) -> None:
    """Calls `begins` at each trial, and informs runs when the search ends within a trial.

    Args:
        begins: must not raise. What the first caller gave stays.
        searches: whether a search is known to run.
    """
    found = kerastuner.trial_method(searches)
    if found is None:
        return
    cls, name = found
    original = getattr(cls, name)
    if hasattr(original, "nanwatch_original"):
        return

    @functools.wraps(original)
    def watched(tuner: Any, trial: Any, *args: Any, **kwargs: Any) -> Any:
        begins(tuner, trial, args, kwargs)
        try:
            return original(tuner, trial, *args, **kwargs)
        except BaseException as e:
            with contextlib.suppress(Exception):  # what leaves is the program's own
                _lose(tuner, trial, e)
            raise

    watched.nanwatch_original = original  # type: ignore[attr-defined]
    setattr(cls, name, watched)


def _lose(tuner: Any, trial: Any, error: BaseException) -> None:
    """Tells the runs of a trial that `error` ended it, and the search with it."""
    state = _STATES.get(tuner)
    trial_id = str(trial.trial_id)
    if state is None or not (
        trial_id in state.listeners or trial_id in state.undertakers
    ):
        return
    _unhook(tuner, state)
    _tell(tuner, state, trial, _exception_text(error), error)
    state.say_end(by_hand=not isinstance(error, Exception))


def _exception_text(error: BaseException) -> str:
    said = _text_of(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _text_of(error: BaseException) -> str:
    # What a chief's oracle raised arrives at a worker within a gRPC error, whose own
    # text is a page of channel state.
    details = getattr(error, "details", None)
    with contextlib.suppress(Exception):
        if callable(details):
            return str(details() or error)
    return text_of(error)


def _unhook(tuner: Any, state: TunerState) -> None:
    tuner.__dict__.pop("on_trial_end", None)
    tuner.__dict__.pop("on_search_end", None)
    state.hooked = False


def _warn_of_trial(trial_id: str, error: Exception) -> None:
    # Watching never ends a search, not even where warnings are errors.
    with contextlib.suppress(NanWatchWarning):
        warnings.warn(
            f"NaN Watch could not log the verdict on "
            f"{trial_name(trial_id, number_of(trial_id))}: {of_error(error)}",
            NanWatchWarning,
            stacklevel=2,
        )


def _tell(
    tuner: Any,
    state: TunerState,
    ended: Any,
    aborted: str | None,
    error: BaseException | None = None,
) -> None:
    trial_id = str(ended.trial_id)
    runs = state.attempt(trial_id)
    runs.ended = True
    listeners = state.listeners.pop(trial_id, [])
    bury = state.undertakers.pop(trial_id, None)
    final = ended
    with contextlib.suppress(Exception):  # a worker's client may have lost its chief
        final = tuner.oracle.get_trial(ended.trial_id)
    score = getattr(final, "score", None)
    step = getattr(final, "best_step", None)
    verdict = Verdict(
        status=str(getattr(final, "status", "") or ""),
        score=None if score is None else float(score),
        best_step=step if isinstance(step, int) else None,
        message=getattr(final, "message", None) or getattr(ended, "message", None),
        aborted=aborted,
    )
    lost = verdict
    if error is not None:
        # KerasTuner keeps no message of it.
        said = "".join(traceback.format_exception(error))
        lost = replace(verdict, message=said, error=error)
    # An exception before the next training begins is not the fault of the last one.
    buries = bury is not None and ((error is not None and runs.expects) or not listeners)
    for listener in listeners:
        try:
            listener(verdict if buries or listener is not listeners[-1] else lost)
        except Exception as e:
            _warn_of_trial(trial_id, e)
    if bury is not None and buries:
        bury(ended, runs.attempt, runs.executions if listeners else 0, lost)
    failed = verdict.status == "FAILED" or aborted is not None
    if error is None and failed and not state.advised:
        state.advised = True
        oracle = own_oracle(tuner)
        text = abort_text.before_abort(
            trial_id,
            verdict.message,
            getattr(oracle, "max_consecutive_failed_trials", None),
            getattr(oracle, "max_trials", None),
        )
        if text is not None:
            with contextlib.suppress(Exception):  # standard error may be closed
                print(f"\n{clean(text, _MAX_ADVICE)}", file=sys.stderr, flush=True)
