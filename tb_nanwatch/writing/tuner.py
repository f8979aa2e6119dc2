"""All that is known of KerasTuner. It is never imported, only recognised.

The callback finds its trial by walking up the Python stack from `fit` to the
tuner's own frame: that works for every tuner, a subclass with its own `run_trial`
included, and patches nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

from tb_nanwatch.schema import Condition, HParam, HParamType, Lineage, Search

_SEARCH_FILE: Final = "nanwatch_search.json"
# Values that Hyperband keeps its books with; they are no hyperparameters.
_BOOKKEEPING: Final = "tuner/"


@dataclass
class Trial:
    """What a callback knows of the trial that it runs in."""

    search: Search
    trial_id: str
    number: int | None
    execution: int
    attempt: int
    worker: str | None
    lineage: Lineage | None
    hparams: list[HParam]
    objectives: list[str]
    tuner: Any = field(repr=False)


@dataclass
class Verdict:
    """What the tuner made of a trial, once it has ended."""

    status: str
    score: float | None
    best_step: int | None
    message: str | None
    aborted: str | None


def current_trial() -> Trial | None:
    """Returns the trial that the calling `fit` belongs to, None without KerasTuner."""
    found = _find_frames()
    if found is None:
        return None
    tuner, trial, execution = found
    state = _state_of(tuner)
    runs = state.begin(trial.trial_id)
    search = _search_of(tuner)
    values = dict(trial.hyperparameters.values)
    oracle = tuner.oracle
    return Trial(
        search=search,
        trial_id=str(trial.trial_id),
        number=_number(trial.trial_id),
        execution=execution if execution is not None else runs.executions - 1,
        attempt=runs.attempt,
        worker=str(tuner.tuner_id) if getattr(tuner, "tuner_id", None) else None,
        lineage=_lineage(values),
        hparams=_hparams(trial.hyperparameters),
        objectives=_objectives(oracle.objective),
        tuner=tuner,
    )


def failed_trial_error(message: str) -> Exception:
    """Returns the exception with which KerasTuner fails a trial without a retry."""
    errors = sys.modules["keras_tuner.src.errors"]
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
    module = sys.modules.get("keras_tuner.src.engine.base_tuner")
    if module is None:
        return None
    execution: int | None = None
    for frame in _frames():
        name = frame.f_code.co_name
        if name == "run_trial" and frame.f_globals.get("__name__", "").startswith(
            "keras_tuner."
        ):
            value = frame.f_locals.get("execution")
            execution = value if isinstance(value, int) else execution
        elif name in ("_run_and_update_trial", "_try_run_and_update_trial"):
            tuner, trial = frame.f_locals.get("self"), frame.f_locals.get("trial")
            if isinstance(tuner, module.BaseTuner) and hasattr(trial, "hyperparameters"):
                return tuner, trial, execution
    return None


@dataclass
class _Runs:
    attempt: int = 0
    executions: int = 0
    ended: bool = False


@dataclass
class _State:
    """What is remembered of one tuner between its trials."""

    runs: dict[str, _Runs] = field(default_factory=dict)
    hooked: bool = False
    listeners: dict[str, list[Callable[[Verdict], None]]] = field(default_factory=dict)

    def begin(self, trial_id: str) -> _Runs:
        runs = self.runs.setdefault(trial_id, _Runs())
        if runs.ended:  # the oracle gave the same trial out again: a retry
            runs.attempt, runs.executions, runs.ended = runs.attempt + 1, 0, False
        runs.executions += 1
        return runs


_STATES: weakref.WeakKeyDictionary[Any, _State] = weakref.WeakKeyDictionary()


def _state_of(tuner: Any) -> _State:
    if tuner not in _STATES:
        _STATES[tuner] = _State()
    return _STATES[tuner]


def _number(trial_id: Any) -> int | None:
    # KerasTuner prints "Trial #n" as the number in the id plus one.
    text = str(trial_id)
    return int(text) + 1 if text.isdecimal() and text.isascii() else None


# --- The verdict --------------------------------------------------------------


def when_trial_ends(trial: Trial, listener: Callable[[Verdict], None]) -> None:
    """Calls `listener` with the tuner's verdict after the trial has ended.

    The verdict falls in `oracle.end_trial`, after the callback's last hook; so the
    tuner's own `on_trial_end` is wrapped, on this instance and until the search
    ends. It is told when `end_trial` raises too, as it does to abort a search.
    """
    tuner, state = trial.tuner, _state_of(trial.tuner)
    state.listeners.setdefault(trial.trial_id, []).append(listener)
    if state.hooked:
        return
    state.hooked = True
    original_end, original_search_end = tuner.on_trial_end, tuner.on_search_end

    def on_trial_end(ended: Any) -> None:
        aborted: str | None = None
        try:
            original_end(ended)
        except BaseException as e:
            aborted = f"{type(e).__name__}: {e}"
            _unhook(tuner, state)
            raise
        finally:
            _tell(tuner, state, ended, aborted)

    def on_search_end() -> None:
        _unhook(tuner, state)
        original_search_end()

    tuner.__dict__["on_trial_end"] = on_trial_end
    tuner.__dict__["on_search_end"] = on_search_end


def _unhook(tuner: Any, state: _State) -> None:
    tuner.__dict__.pop("on_trial_end", None)
    tuner.__dict__.pop("on_search_end", None)
    state.hooked = False


def _tell(tuner: Any, state: _State, ended: Any, aborted: str | None) -> None:
    trial_id = str(ended.trial_id)
    state.runs.setdefault(trial_id, _Runs()).ended = True
    listeners = state.listeners.pop(trial_id, [])
    if not listeners:
        return
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
        listener(verdict)


# --- The search ---------------------------------------------------------------


def _search_of(tuner: Any) -> Search:
    oracle, objective = tuner.oracle, tuner.oracle.objective
    identity, started = _identity(str(tuner.project_dir))
    return Search(
        id=identity,
        name=str(getattr(tuner, "project_name", "") or ""),
        tuner=type(tuner).__name__,
        objective=str(getattr(objective, "name", "") or "") or None,
        direction=objective_direction(tuner),
        started=started,
        max_trials=_optional_int(getattr(oracle, "max_trials", None)),
        max_consecutive_failed_trials=_optional_int(
            getattr(oracle, "max_consecutive_failed_trials", None)
        ),
        executions_per_trial=_optional_int(getattr(tuner, "executions_per_trial", 1))
        or 1,
    )


def _identity(project_dir: str) -> tuple[str, float]:
    """Returns the search's id and when it began.

    Kept in a file in the project's directory, which every worker shares, which a
    resumed search finds again and which `overwrite=True` deletes.
    """
    path = os.path.join(project_dir, _SEARCH_FILE)
    fresh = {"id": uuid.uuid4().hex[:16], "started": time.time()}
    for _ in range(20):
        try:
            with open(path, encoding="utf-8") as f:
                kept = json.load(f)
            return str(kept["id"]), float(kept["started"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, OSError):
            time.sleep(0.05)  # another worker is writing it this moment
            continue
        try:
            os.makedirs(project_dir, exist_ok=True)
            part = f"{path}.{fresh['id']}"
            with open(part, "x", encoding="utf-8") as f:
                json.dump(fresh, f)
            try:
                os.link(part, path)  # appears whole, and only if no one was faster
            finally:
                os.unlink(part)
        except FileExistsError:
            continue
        except OSError:
            break
    return _identity_without_file(project_dir, fresh)


_IDENTITIES: dict[str, tuple[str, float]] = {}


def _identity_without_file(project_dir: str, fresh: dict[str, Any]) -> tuple[str, float]:
    # A place that cannot hold the file (remote, read-only): the same for this
    # process, at least.
    return _IDENTITIES.setdefault(project_dir, (fresh["id"], fresh["started"]))


def _optional_int(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _objectives(objective: Any) -> list[str]:
    parts = getattr(objective, "objectives", None) or [objective]
    return [str(p.name) for p in parts if getattr(p, "name", None)]


# --- Hyperparameters ----------------------------------------------------------


def _lineage(values: dict[str, Any]) -> Lineage | None:
    kept = {
        k[len(_BOOKKEEPING) :]: v for k, v in values.items() if k.startswith(_BOOKKEEPING)
    }
    if not kept:
        return None
    trial_id = kept.get("trial_id")
    return Lineage(
        trial_id=None if trial_id is None else str(trial_id),
        initial_epoch=_optional_int(kept.get("initial_epoch")),
        epochs=_optional_int(kept.get("epochs")),
        bracket=_optional_int(kept.get("bracket")),
        round=_optional_int(kept.get("round")),
    )


_TYPES: Final[dict[str, HParamType]] = {
    "Int": "int",
    "Float": "float",
    "Choice": "choice",
    "Boolean": "boolean",
    "Fixed": "fixed",
}


def _hparams(hyperparameters: Any) -> list[HParam]:
    """Returns every hyperparameter of the space, each name once, with its value."""
    found: dict[str, HParam] = {}
    for hp in hyperparameters.space:
        if hp.name.startswith(_BOOKKEEPING):
            continue
        active = bool(hyperparameters.is_active(hp))
        known = found.get(hp.name)
        # The same name may stand in several conditional scopes; the active one counts.
        if known is not None and (known.active or not active):
            continue
        value = hyperparameters.values.get(hp.name) if active else None
        # An Int or Float lists its steps as values too; its bounds say it all.
        values = getattr(hp, "values", None) if type(hp).__name__ == "Choice" else None
        found[hp.name] = HParam(
            name=hp.name,
            value=_scalar(value),
            type=_TYPES.get(type(hp).__name__, "text"),
            active=active,
            min=_scalar(getattr(hp, "min_value", None)),
            max=_scalar(getattr(hp, "max_value", None)),
            step=_scalar(getattr(hp, "step", None)),
            sampling=getattr(hp, "sampling", None),
            values=[_scalar(v) for v in values]
            if isinstance(values, list | tuple)
            else None,
            ordered=getattr(hp, "ordered", None),
            default=_scalar(getattr(hp, "default", None)),
            conditions=[
                Condition(str(c.name), [_scalar(v) for v in c.values])
                for c in getattr(hp, "conditions", None) or ()
                if hasattr(c, "name") and hasattr(c, "values")
            ],
        )
    for name, value in hyperparameters.values.items():
        if name not in found and not name.startswith(_BOOKKEEPING):
            found[name] = HParam(name, _scalar(value), plain_type(value))
    return list(found.values())


def plain_type(value: Any) -> HParamType:
    """Returns the type of a value that came without a search space."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(_scalar(value), int | float) else "text"


def _scalar(value: Any) -> Any:
    """Returns a JSON scalar for a hyperparameter's value."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        value = item()
    return (
        value
        if value is None or isinstance(value, bool | int | float | str)
        else str(value)
    )


def plain_hparams(values: dict[str, Any]) -> list[HParam]:
    """Returns hyperparameters for a plain mapping of names to values."""
    return [HParam(str(k), _scalar(v), plain_type(v)) for k, v in values.items()]
