"""The tuner's verdict on a trial: heard after the trial has ended, told to its runs.

The verdict falls in `oracle.end_trial`, after the callback's last hook. So the tuner's
own `on_trial_end` is wrapped, on that one object and until its search ends.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tb_nanwatch.compat.kerastuner import own_oracle
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.schema import Status
from tb_nanwatch.text import clean
from tb_nanwatch.writing import advice, identities

# The reason in it is a message of somebody's exception.
_MAX_ADVICE = 2_000


@dataclass
class Verdict:
    """What the tuner made of a trial, once it has ended."""

    status: str
    score: float | None
    best_step: int | None
    message: str | None
    aborted: str | None


Listener = Callable[[Verdict], None]
# Writes the run of a trial that ended before any training: KerasTuner's trial, its
# attempt, the verdict.
Undertaker = Callable[[Any, int, Verdict], None]


@dataclass
class _Runs:
    attempt: int = 0
    executions: int = 0
    # Trainings so far of each execution.
    fits: dict[int, int] = field(default_factory=dict)
    ended: bool = False


@dataclass
class State:
    """What is remembered of one tuner between its trials."""

    runs: dict[str, _Runs] = field(default_factory=dict)
    # What had become of the trials' trainings by their end.
    statuses: dict[str, Status] = field(default_factory=dict)
    hooked: bool = False
    listeners: dict[str, list[Listener]] = field(default_factory=dict)
    undertakers: dict[str, Undertaker] = field(default_factory=dict)
    advised: bool = False

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
        return runs.attempt, execution, fit

    def attempt(self, trial_id: str) -> _Runs:
        """Returns the runs of the attempt at the trial that is under way."""
        runs = self.runs.setdefault(trial_id, _Runs())
        if runs.ended:  # the oracle gave the same trial out again: a retry
            runs.attempt, runs.executions, runs.ended = runs.attempt + 1, 0, False
            runs.fits.clear()
        return runs


_STATES: weakref.WeakKeyDictionary[Any, State] = weakref.WeakKeyDictionary()


def state_of(tuner: Any) -> State:
    """Returns what is remembered of `tuner`, for as long as it lives."""
    if tuner not in _STATES:
        _STATES[tuner] = State()
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
    state.attempt(trial_id)
    state.undertakers[trial_id] = bury
    _hook(tuner, state)


def _hook(tuner: Any, state: State) -> None:
    if state.hooked:
        return
    state.hooked = True
    original_end, original_search_end = tuner.on_trial_end, tuner.on_search_end

    def on_trial_end(ended: Any) -> None:
        aborted: str | None = None
        try:
            original_end(ended)
        except BaseException as e:
            aborted = f"{type(e).__name__}: {_text_of(e)}"
            _unhook(tuner, state)
            raise
        finally:
            _tell(tuner, state, ended, aborted)

    def on_search_end() -> None:
        _unhook(tuner, state)
        with contextlib.suppress(Exception):  # of a place that cannot be read
            identities.of(tuner, now=True)
        original_search_end()

    tuner.__dict__["on_trial_end"] = on_trial_end
    tuner.__dict__["on_search_end"] = on_search_end


def _text_of(error: BaseException) -> str:
    # What a chief's oracle raised arrives at a worker within a gRPC error, whose own
    # text is a page of channel state.
    details = getattr(error, "details", None)
    with contextlib.suppress(Exception):
        if callable(details):
            return str(details() or error)
    return str(error)


def _unhook(tuner: Any, state: State) -> None:
    tuner.__dict__.pop("on_trial_end", None)
    tuner.__dict__.pop("on_search_end", None)
    state.hooked = False


def _tell(tuner: Any, state: State, ended: Any, aborted: str | None) -> None:
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
    for listener in listeners:
        try:
            listener(verdict)
        except Exception as e:  # watching never ends a search
            warnings.warn(
                f"NaN Watch could not log the verdict on trial {trial_id}: "
                f"{type(e).__name__}: {e}",
                NanWatchWarning,
                stacklevel=2,
            )
    if bury is not None and not listeners:
        bury(ended, runs.attempt, verdict)
    if not state.advised and (verdict.status == "FAILED" or aborted is not None):
        state.advised = True
        oracle = own_oracle(tuner)
        text = advice.before_abort(
            trial_id,
            verdict.message,
            getattr(oracle, "max_consecutive_failed_trials", None),
            getattr(oracle, "max_trials", None),
        )
        if text is not None:
            with contextlib.suppress(Exception):  # standard error may be closed
                print(f"\n{clean(text, _MAX_ADVICE)}", file=sys.stderr, flush=True)
