# SPDX-License-Identifier: Apache-2.0
"""KerasTuner's private names, and its import where the user calls a function that needs it.

A search that is watched is only recognised: KerasTuner is imported by then.
"""

from __future__ import annotations

import importlib
import sys
from types import FrameType
from typing import Any, Final

from tb_nanwatch.compat.names import Attribute, Feature, Global, Inside, MissingError, has

_EXECUTION: Final = Inside(
    "keras_tuner", "Tuner.run_trial", Feature.EXECUTIONS, inner="execution"
)
_BASE_TUNER: Final = Global(
    "keras_tuner.src.engine.base_tuner", "BaseTuner", Feature.ENDED_SEARCHES
)
_RUNS_TRIAL: Final = Attribute(
    "a tuner", "_try_run_and_update_trial", Feature.ENDED_SEARCHES, "keras_tuner"
)
_BUILD: Final = Attribute("a tuner", "_try_build", Feature.MODELS_BUILT, "keras_tuner")
# AutoKeras overrides this method. Where KerasTuner has it no more, nothing can override it.
_TRAINS: Final = "_build_and_fit_model"
_CLIENTS_ORACLE: Final = Attribute(
    "the oracle of a worker", "_oracle", Feature.SHARED_SEARCH, "keras_tuner"
)


def execution_in(frame: FrameType) -> int | None:
    """Returns the number of the execution that KerasTuner is running in a trial, from 0.

    Args:
        frame: of a tuner's `run_trial`; None is returned where it is not KerasTuner's own.
    """
    if not str(frame.f_globals.get("__name__", "")).startswith("keras_tuner."):
        return None
    if not has(Feature.EXECUTIONS):
        return None
    value = frame.f_locals.get(_EXECUTION.inner)
    return value if isinstance(value, int) else None


def own_oracle(tuner: Any) -> Any:
    """Returns the oracle that this process made.

    On a worker the tuner's oracle is a client of the chief's, which knows next to
    nothing of the settings; the oracle that the worker's program made is in it. Without
    that name it is the client all the same.
    """
    try:
        return _CLIENTS_ORACLE.of(tuner.oracle)
    except MissingError as e:
        if _is_client(tuner.oracle):
            e.warn()
        return tuner.oracle


def is_shared(tuner: Any) -> bool:
    """Returns whether the tuner is a worker of a distributed search."""
    return own_oracle(tuner) is not tuner.oracle or _is_client(tuner.oracle)


def _is_client(oracle: Any) -> bool:
    """Returns whether an oracle is KerasTuner's client, which asks another process for trials."""
    package = sys.modules.get("keras_tuner")
    own = type(oracle).__module__.partition(".")[0] == "keras_tuner"
    return own and package is not None and not isinstance(oracle, package.Oracle)


def trial_method(searches: bool) -> tuple[Any, str] | None:
    """Returns the class and the name of the method in which a tuner runs a trial.

    It catches every exception but those that end the search. None where KerasTuner was
    not imported, or has no such method: what ends a search is then not told of.

    Args:
        searches: whether a search is known to run, so that a missing method is warned of.
    """
    if "keras_tuner" not in sys.modules:
        return None
    try:
        cls = _BASE_TUNER.find()
        _RUNS_TRIAL.of(cls)
    except MissingError as e:
        if searches:
            e.warn()
        return None
    return cls, _RUNS_TRIAL.name


def trains_by_itself(tuner: Any) -> bool:
    """Returns whether KerasTuner's own code trains a trial, by `model.fit` and no more."""
    base = getattr(sys.modules.get("keras_tuner"), "Tuner", None)
    if base is None or not isinstance(tuner, base):
        return False
    own = (tuner, "run_trial"), (tuner, _TRAINS), (tuner.hypermodel, "fit")
    return all(_is_kerastuners(whose, name) for whose, name in own)


def _is_kerastuners(whose: Any, name: str) -> bool:
    """Returns whether a method is KerasTuner's own, or does not exist."""
    method = getattr(whose, name, None)
    module = getattr(method, "__module__", None) or ""
    return method is None or module.partition(".")[0] == "keras_tuner"


def built(tuner: Any, hyperparameters: Any) -> Any:
    """Returns the model of a set of values, built as KerasTuner's own trials build it.

    Args:
        tuner: a `keras_tuner.Tuner`; what it overrides of a model's compilation, its
            limit of size and its distribution hold.
        hyperparameters: KerasTuner's, with the trial's values.
    """
    return _BUILD.get(tuner, tuner.hypermodel.build)(hyperparameters)


def empty_space() -> Any:
    """Returns a new `keras_tuner.HyperParameters`.

    Raises:
        ImportError: KerasTuner is not installed.
    """
    return importlib.import_module("keras_tuner").HyperParameters()
