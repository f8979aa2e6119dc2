# SPDX-License-Identifier: Apache-2.0
"""Changes of a training's optimizer: its learning rate, its clipping, its settings."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.compat.keras import (
    learning_rate_replaced,
    learning_rate_variable,
)
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.postmortem.changing import (
    Altered,
    Apply,
    Case,
    Changing,
    NotApplicableError,
)
from tb_nanwatch.postmortem.tape import Change, set_value
from tb_nanwatch.record.schema import Config, Experiment

CLIPPED_TO: Final = 1.0
# By powers of it the learning rate is divided until the training stays finite, or the rate
# is so low that no optimizer's usual one is: a hundredth of the lowest that Keras takes by
# default (Lion's).
RATE_DIVISOR: Final = 10.0
LOWEST_RATE: Final = 1e-6
_LEAST_DIVISOR: Final = 2.0
# No optimizer takes a higher rate by default than SGD.
HIGH_RATE: Final = 1e-2
# Why a rate cannot be set: what it would be at each step is a function's to say.
FOLLOWS_SCHEDULE: Final = "the learning rate follows a schedule"
# Settings of an optimizer that the rules look at.
_SETTINGS: Final = ("epsilon", "momentum", "beta_1", "beta_2", "rho", "weight_decay")


def _optimizer(case: Case) -> Any:
    if not case.trains or case.model.optimizer is None:
        raise NotApplicableError("the step makes no update")
    if case.before_update and not case.from_before:
        raise NotApplicableError("the step went bad before its update")
    optimizer = case.model.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def lower_rate(divisor: float) -> Changing:
    """Returns the change to a lower learning rate."""

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        optimizer = _optimizer(case)
        rate = learning_rate_variable(optimizer)
        if not isinstance(rate, keras.Variable):
            raise NotApplicableError(FOLLOWS_SCHEDULE)
        altered = Altered()

        def begun() -> None:
            now = float(rate.numpy())
            if not np.isfinite(now):
                raise NotApplicableError(f"the learning rate is {now}")
            altered.value = now / divisor
            set_value(rate, np.asarray(altered.value, np.float32))

        def changed(change: Change) -> Any:
            return change.value / divisor if change.variable is rate else change.value

        altered.begun, altered.changed = begun, changed
        yield altered

    return Changing(
        f"learning_rate/{divisor:g}", f"the learning rate divided by {divisor:g}", apply
    )


class _Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that divides the rates of another one."""

    def __init__(self, rates: Callable[[Any], Any], divisor: float) -> None:
        super().__init__()
        self._rates, self._divisor = rates, divisor

    def __call__(self, step: Any) -> Any:
        return self._rates(step) / self._divisor


def lower_schedule(divisor: float) -> Changing:
    """Returns the change to a schedule whose rates are all lower.

    The compiled step holds the schedule that it was traced with.
    """

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        optimizer = _optimizer(case)
        schedule = learning_rate_variable(optimizer)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise NotApplicableError("the learning rate follows no schedule")
        scaled = _Scaled(schedule, divisor)
        altered = Altered(
            text=f"the rates of the schedule {type(schedule).__name__} divided by "
            f"{divisor:g}"
        )

        def begun() -> None:
            step = int(np.asarray(optimizer.iterations)) + max(0, case.onset)
            now = float(np.asarray(scaled(step)))
            if not np.isfinite(now):
                raise NotApplicableError(f"the learning rate is {now * divisor}")
            altered.value = now  # of the failing step

        altered.begun = begun
        with learning_rate_replaced(optimizer, scaled):
            yield altered

    return Changing(
        f"schedule/{divisor:g}",
        f"the rates of the schedule divided by {divisor:g}",
        apply,
        retraces=True,
    )


def clipped(by: str) -> Apply:
    """Returns the change that clips gradients by one of the optimizer's settings."""

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        optimizer = _optimizer(case)
        names = ("global_clipnorm", "clipnorm", "clipvalue")
        before = {name: getattr(optimizer, name, None) for name in names}
        try:
            for name in names:
                setattr(optimizer, name, None)
            setattr(optimizer, by, CLIPPED_TO)
            yield Altered(value=CLIPPED_TO)
        finally:
            for name, value in before.items():
                setattr(optimizer, name, value)

    return apply


def _number(value: Any) -> float:
    """Returns a setting as a number; NaN, which exceeds nothing, for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else float("nan")


def _odd_settings(optimizer: Any) -> list[str]:
    """Returns the optimizer's settings that no training survives, by the rules' limits."""
    setting = {name: _number(getattr(optimizer, name, None)) for name in _SETTINGS}
    rate = float("nan")
    with contextlib.suppress(Exception):  # a schedule of the user's own
        rate = float(np.asarray(optimizer.learning_rate))
    odd = {
        "epsilon": setting["epsilon"] < at("tiny_epsilon"),
        "momentum": setting["momentum"] >= at("momentum"),
        "weight_decay": setting["weight_decay"] * rate >= at("decay_step"),
    }
    return [name for name in _SETTINGS if odd.get(name, setting[name] >= 1.0)]


def _usual_settings(optimizer: Any) -> Config:
    """Returns the default settings of the Keras class that an optimizer is derived from."""
    for cls in type(optimizer).__mro__:
        if cls.__module__.split(".")[0] == "keras":
            made_by = vars(cls).get("__init__", lambda: None)
            given = inspect.signature(made_by).parameters
            return {
                name: given[name].default
                for name in _SETTINGS
                if name in given and given[name].default is not inspect.Parameter.empty
            }
    return {}


@contextlib.contextmanager
def with_usual_settings(case: Case) -> Iterator[Altered]:
    """Sets optimizer settings that are far out of range to Keras' defaults."""
    optimizer = _optimizer(case)
    usual = _usual_settings(optimizer)
    odd = [name for name in _odd_settings(optimizer) if name in usual]
    if not odd:
        raise NotApplicableError("no setting of the optimizer is out of all range")
    before = {name: getattr(optimizer, name) for name in odd}
    said = [
        f"{'no' if usual[name] is None else f'{usual[name]:g}'} instead of "
        f"{before[name]:.3g} as {name}"
        for name in odd
    ]
    try:
        for name in odd:
            setattr(optimizer, name, usual[name])
        value = usual[odd[0]] if len(odd) == 1 else None
        yield Altered(value=value, text=f"the optimizer's usual {' and '.join(said)}")
    finally:
        for name, old in before.items():
            setattr(optimizer, name, old)


LOWERED: Final = {"learning_rate": lower_rate, "schedule": lower_schedule}


def is_lower_rate(change_id: str) -> bool:
    """Returns whether a change is one to lower learning rates."""
    return change_id.partition("/")[0] in LOWERED


def alike(model: Any, experiment: Experiment) -> str:
    """Returns the id of the change to `model` that corresponds to an experiment on another model.

    Args:
        model: to be trained with the change.
        experiment: on a training of the other model: where it set a learning rate, the
            same one is set, if it is lower than that of `model`.
    """
    if not experiment.change.startswith("learning_rate/") or not experiment.value:
        return experiment.change
    optimizer = model.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    rate = learning_rate_variable(optimizer)
    if not isinstance(rate, keras.Variable):
        return experiment.change
    divisor = round(float(rate.numpy()) / experiment.value, 1)
    # A rate near the helpful one is too high for some other reason.
    is_lower = np.isfinite(divisor) and divisor >= _LEAST_DIVISOR
    return f"learning_rate/{divisor:g}" if is_lower else experiment.change
