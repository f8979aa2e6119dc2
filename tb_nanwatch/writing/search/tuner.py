# SPDX-License-Identifier: Apache-2.0
"""Reads trials and spaces from KerasTuner, which is never imported, only recognised.

The callback finds its trial by walking up the Python stack from `fit` to the
tuner's `run_trial`: that works for every tuner, a subclass with its own `run_trial`
included, and patches nothing.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, Final

from tb_nanwatch.compat.kerastuner import execution_in, own_oracle
from tb_nanwatch.record.schema import (
    PURPOSES,
    Condition,
    HParam,
    HParamType,
    JSONScalar,
    Lineage,
    Search,
)
from tb_nanwatch.wording.trial_names import number_of
from tb_nanwatch.writing.search import identities
from tb_nanwatch.writing.search.declarations import Declarations, declarations
from tb_nanwatch.writing.search.verdict import state_of
from tb_nanwatch.writing.values import name, plain_hparams, scalar, small_int

# Values that Hyperband keeps its books with; they are no hyperparameters.
_BOOKKEEPING: Final = "tuner/"
# The attribute of a tuner of this package's that says what its searches are for.
PURPOSE: Final = "nanwatch_purpose"


@dataclass
class Trial:
    """A callback's knowledge of the trial that it runs in."""

    search: Search
    trial_id: str
    number: int | None
    execution: int
    attempt: int
    fit: int
    worker: str | None
    lineage: Lineage | None
    hparams: list[HParam]
    objectives: list[str]
    tuner: Any = field(repr=False)


def current_trial() -> Trial | None:
    """Returns the trial that the calling `fit` belongs to, None without KerasTuner."""
    found = _find_frames()
    if found is None:
        return None
    tuner, trial, execution = found
    attempt, execution, fit = state_of(tuner).begin(str(trial.trial_id), execution)
    return trial_of(tuner, trial, execution, attempt, fit)


def running_trial() -> tuple[Any, Any] | None:
    """Returns KerasTuner's tuner and trial that the caller runs in, if any."""
    found = _find_frames()
    return None if found is None else found[:2]


def trial_of(tuner: Any, trial: Any, execution: int, attempt: int, fit: int = 0) -> Trial:
    """Returns the `Trial` for KerasTuner's `trial`.

    Args:
        tuner: whose trial it is.
        trial: KerasTuner's object.
        execution: which training of the trial, from 0.
        attempt: from 0; above 0 it is a retry.
        fit: which training of the execution, from 0.
    """
    values = dict(trial.hyperparameters.values)
    return Trial(
        search=_search_of(tuner, number_of(trial.trial_id)),
        trial_id=str(trial.trial_id),
        number=number_of(trial.trial_id),
        execution=execution,
        attempt=attempt,
        fit=fit,
        worker=str(tuner.tuner_id) if getattr(tuner, "tuner_id", None) else None,
        lineage=_lineage(values),
        hparams=_hparams(
            trial.hyperparameters, declarations(getattr(tuner, "hypermodel", None))
        ),
        objectives=_objectives(tuner.oracle.objective),
        tuner=tuner,
    )


def keep_identity(trial: Trial) -> None:
    """Reads the identity of the trial's search again: another worker may have written it since."""
    trial.search = _named(trial.search, identities.of(trial.tuner))


def when_settled(trial: Trial, told: Callable[[Search], None]) -> None:
    """Calls `told` with the trial's search if it turns out to be an older one."""
    search = trial.search
    identities.when_settled(trial.tuner, lambda found: told(_named(search, found)))


def _named(search: Search, identity: identities.Identity) -> Search:
    found, started = identity
    return replace(search, id=found, started=started) if found != search.id else search


def failed_trial_error(message: str) -> Exception:
    """Returns the exception with which KerasTuner fails a trial without a retry."""
    errors = sys.modules["keras_tuner.errors"]
    return errors.FailedTrialError(message)  # type: ignore[no-any-return]


def objective_direction(tuner: Any) -> str | None:
    """Returns "min" or "max"."""
    direction = getattr(tuner.oracle.objective, "direction", None)
    return str(direction) if direction else None


# --- Finding the trial --------------------------------------------------------


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _find_frames() -> tuple[Any, Any, int | None] | None:
    base = getattr(sys.modules.get("keras_tuner.engine.base_tuner"), "BaseTuner", None)
    if base is None:
        return None
    tuner = trial = execution = None
    for frame in _frames():
        if frame.f_code.co_name != "run_trial":
            continue
        arguments = _positional(frame)
        if len(arguments) < 2 or not isinstance(arguments[0], base):
            continue
        if tuner is not None and tuner is not arguments[0]:
            break  # a search within a trial of another one
        if execution is None:
            execution = execution_in(frame)
        if hasattr(arguments[1], "hyperparameters"):
            # The outermost one counts: a tuner of the user's may hand on another trial.
            tuner, trial = arguments[:2]
    return None if tuner is None else (tuner, trial, execution)


def _positional(frame: FrameType) -> list[Any]:
    """Returns the positional arguments of a frame's function, whatever their names."""
    given = inspect.getargvalues(frame)
    arguments = [given.locals.get(name) for name in given.args]
    return [*arguments, *given.locals.get(given.varargs or "", ())]


# --- The search ---------------------------------------------------------------


def _search_of(tuner: Any, number: int | None) -> Search:
    oracle, objective = own_oracle(tuner), tuner.oracle.objective
    # The worker with the first trial names the search; the others wait for it.
    identity, started = identities.of(tuner, waits=number != 1)
    purpose = getattr(tuner, PURPOSE, "search")
    return Search(
        id=identity,
        name=str(getattr(tuner, "project_name", "") or ""),
        tuner=type(tuner).__name__,
        objective=str(getattr(objective, "name", "") or "") or None,
        direction=objective_direction(tuner),
        started=started,
        max_trials=small_int(getattr(oracle, "max_trials", None)),
        max_consecutive_failed_trials=small_int(
            getattr(oracle, "max_consecutive_failed_trials", None)
        ),
        executions_per_trial=small_int(getattr(tuner, "executions_per_trial", 1)) or 1,
        oracle=next(
            (
                cls.__name__
                for cls in type(oracle).__mro__
                if cls.__module__.startswith("keras_tuner.")
            ),
            None,
        ),
        purpose=purpose if purpose in PURPOSES else "search",
    )


def best_epoch(history: Mapping[str, Sequence[float]], tuner: Any) -> int | None:
    """Returns the epoch of a training, from 0, whose objective KerasTuner takes.

    By its own rule: the first epoch unless a later one is better, which it never is
    than NaN. None where the objective is not among the metrics, or NaN.
    """
    objective = tuner.oracle.objective
    names = _objectives(objective)
    if not names or any(name not in history for name in names):
        return None
    epochs = zip(*(history[name] for name in names), strict=False)
    values = [
        float(objective.get_value(dict(zip(names, e, strict=True)))) for e in epochs
    ]
    best = 0
    for epoch, value in enumerate(values):
        if objective.better_than(value, values[best]):
            best = epoch
    return best if values and not math.isnan(values[best]) else None


def _objectives(objective: Any) -> list[str]:
    parts = getattr(objective, "objectives", None) or [objective]
    return [str(p.name) for p in parts if getattr(p, "name", None)]


# --- Hyperparameters ----------------------------------------------------------


def _lineage(values: Mapping[str, JSONScalar]) -> Lineage | None:
    kept = {
        k[len(_BOOKKEEPING) :]: v
        for k, v in values.items()
        if isinstance(k, str) and k.startswith(_BOOKKEEPING)
    }
    if not kept:
        return None
    trial_id = kept.get("trial_id")
    return Lineage(
        trial_id=None if trial_id is None else name(trial_id),
        initial_epoch=small_int(kept.get("initial_epoch")),
        epochs=small_int(kept.get("epochs")),
        bracket=small_int(kept.get("bracket")),
        round=small_int(kept.get("round")),
    )


_TYPES: Final[dict[str, HParamType]] = {
    "Int": "int",
    "Float": "float",
    "Choice": "choice",
    "Boolean": "boolean",
    "Fixed": "fixed",
}


def declared(hyperparameters: Any) -> list[HParam]:
    """Returns every declaration of KerasTuner's space, including several of one name."""
    return [
        _declared(hp, hyperparameters)
        for hp in hyperparameters.space
        if not hp.name.startswith(_BOOKKEEPING)
    ]


def _declared(hp: Any, hyperparameters: Any) -> HParam:
    active = bool(hyperparameters.is_active(hp))
    value = hyperparameters.values.get(hp.name) if active else None
    # An Int or Float lists its steps as values too; its bounds say it all.
    values = getattr(hp, "values", None) if type(hp).__name__ == "Choice" else None
    sampling, ordered = getattr(hp, "sampling", None), getattr(hp, "ordered", None)
    return HParam(
        name=name(hp.name),
        value=scalar(value),
        type=_TYPES.get(type(hp).__name__, "text"),
        active=active,
        min=scalar(getattr(hp, "min_value", None)),
        max=scalar(getattr(hp, "max_value", None)),
        step=scalar(getattr(hp, "step", None)),
        sampling=None if sampling is None else name(sampling),
        values=[scalar(v) for v in values] if isinstance(values, list | tuple) else None,
        ordered=None if ordered is None else bool(ordered),
        default=scalar(getattr(hp, "default", None)),
        conditions=[
            Condition(name(c.name), [scalar(v) for v in c.values])
            for c in getattr(hp, "conditions", None) or ()
            if hasattr(c, "name") and hasattr(c, "values")
        ],
    )


def _hparams(hyperparameters: Any, found_at: Declarations | None = None) -> list[HParam]:
    """Returns every hyperparameter of the space, each name once, with its value.

    Args:
        hyperparameters: KerasTuner's.
        found_at: where the program declares them; None where that cannot be read.
    """
    found: dict[str, HParam] = {}
    for hp in declared(hyperparameters):
        known = found.get(hp.name)
        # The same name may stand in several conditional scopes; the active one counts.
        if known is None or (hp.active and not known.active):
            hp.declared = found_at.of(hp.name) if found_at is not None else None
            found[hp.name] = hp
    for plain in plain_hparams(hyperparameters.values):
        if plain.name not in found and not plain.name.startswith(_BOOKKEEPING):
            found[plain.name] = plain
    return list(found.values())
