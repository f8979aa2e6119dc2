# SPDX-License-Identifier: Apache-2.0
"""The trials of one search, as arrays and in words; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tb_nanwatch.declaring.cut import short_between
from tb_nanwatch.declaring.declaration import number_text
from tb_nanwatch.reading.search.axes import Axis, Bools, HParamCondition, axes_of
from tb_nanwatch.reading.search.separation import Region
from tb_nanwatch.record.schema import HParam, JSONScalar

# KerasTuner's own bookkeeping values, which no user chose.
_BOOKKEEPING: Final = "tuner/"
# So many of the bad trials must have a cause that is about a value.
_SUSPECT_SHARE: Final = 0.75
# Keras keeps a learning rate in float32.
_SAME_NUMBER: Final = 1e-5


@dataclass(frozen=True)
class ComparedTrial:
    """One trial that has ended, or has gone bad already.

    Attributes:
        hparams: its hyperparameters with their space.
        bad: whether it went bad, in any execution.
        score: the tuner's; None where there is none.
        origin: (kind, name) of the first bad tensor.
        cause: id of the likeliest cause; None where it is not known.
        about: value of the setting that this cause is about (a learning rate).
        made: the operation that made `origin`, with its line; None where it is unknown.
        fix: what to change, by the rule that named `cause`; empty where not known.
        sure: how sure `cause` is: "tested", "likely", "unclear" or "".
        failed: the lowest value of that setting with which the trial, run again, went bad.
    """

    hparams: Sequence[HParam]
    bad: bool
    score: float | None = None
    origin: tuple[str, str] | None = None
    cause: str | None = None
    about: float | None = None
    made: str | None = None
    fix: str = ""
    sure: str = ""
    failed: float | None = None


@dataclass
class Space:
    """All trials of a search.

    Attributes:
        trials: as they were given.
        values: the active hyperparameters of each by name.
        bad: bool [trials].
        axes: hyperparameters that took several values.
        known: each declaration of the space, in the order in which they were met.
        best: index of the clean trial with the best score.
    """

    trials: Sequence[ComparedTrial]
    values: list[dict[str, HParam]]
    bad: Bools
    axes: list[Axis]
    known: list[HParam]
    best: int | None

    @classmethod
    def of(cls, trials: Sequence[ComparedTrial], direction: str | None) -> Space:
        """Returns `trials` as arrays; `direction` is the objective's."""
        kept = [
            [h for h in t.hparams if not h.name.startswith(_BOOKKEEPING)] for t in trials
        ]
        sign = -1.0 if direction == "max" else 1.0
        scored = [
            (sign * t.score, i)
            for i, t in enumerate(trials)
            if not t.bad and t.score is not None and math.isfinite(t.score)
        ]
        return cls(
            trials,
            [{h.name: h for h in hparams if h.active} for hparams in kept],
            np.array([t.bad for t in trials], np.bool_),
            axes_of(kept),
            known_space(kept),
            min(scored)[1] if scored else None,
        )


def known_space(trials: Sequence[Sequence[HParam]]) -> list[HParam]:
    """Returns each declaration of a search's space once, as the newest trial has it.

    They stand in the order in which they were met first.

    Args:
        trials: the hyperparameters of each trial.
    """
    found = {(h.name, repr(h.conditions)): h for t in trials for h in t}
    return [h for h in found.values() if not h.name.startswith(_BOOKKEEPING)]


def counts(space: Space, mask: Bools) -> tuple[int, int]:
    """Returns how many of the trials in `mask` went bad, and how many there are."""
    return int((space.bad & mask).sum()), int(mask.sum())


def bounds_of(
    axes: Sequence[Axis], region: Region, condition: HParamCondition, left: Bools
) -> tuple[float, float]:
    """Returns the values next to a threshold: the last good one and the first bad one.

    Among the trials that meet the region's other conditions, since only these say
    where the threshold lies.
    """
    if condition.op == "in":
        return math.nan, math.nan
    others = left.copy()
    for other in region.conditions:
        if other is not condition:
            others &= axes[other.axis].holds(other)
    numbers = axes[condition.axis].numbers
    dead = numbers[others & region.inside]
    live = numbers[others & ~region.inside & ~np.isnan(numbers)]
    if condition.op == "ge":
        return (float(live.max()) if len(live) else math.nan), float(dead.min())
    return (float(live.min()) if len(live) else math.nan), float(dead.max())


def tried_bounds(
    space: Space, region: Region, condition: HParamCondition, left: Bools
) -> tuple[float, float]:
    """Returns `bounds_of`, nearer to each other where a bad trial, run again, tells more.

    A value that the causes are about went bad with what else that trial has: an edit that
    kept it would keep what is known to go bad.
    """
    live, dead = bounds_of(space.axes, region, condition, left)
    if condition.op != "ge":
        return live, dead
    numbers = space.axes[condition.axis].numbers
    failed = [
        t.failed
        for i, t in enumerate(space.trials)
        if t.failed is not None
        and t.about is not None
        and left[i]
        and region.inside[i]
        and math.isclose(numbers[i], t.about, rel_tol=_SAME_NUMBER)
    ]
    lowest = min([dead, *failed])
    # Another trial that lived beyond it had other values of something else.
    return live, (dead if lowest <= live else lowest)


def condition_text(
    axis: Axis, condition: HParamCondition, live: float, dead: float
) -> str:
    """Returns "learning_rate >= 0.11" or "optimizer = sgd".

    Args:
        axis: the condition's.
        condition: on it.
        live, dead: the observed values on both sides of a threshold.
    """
    if condition.op == "in":
        values = [value_text(axis.levels[i]) for i in sorted(condition.levels)]
        if len(values) == 1:
            return f"{axis.name} = {values[0]}"
        return f"{axis.name} in ({', '.join(values)})"
    sign = ">=" if condition.op == "ge" else "<="
    # Not rounded beyond the bound of the edit, which keeps what this would name as bad.
    kept = live if math.isnan(live) else short_between(live, dead, axis.log)
    return f"{axis.name} {sign} {threshold_text(dead, kept, axis.whole)}"


def other_side_text(
    axis: Axis, condition: HParamCondition, live: float, dead: float
) -> str:
    """Returns "learning_rate <= 0.03" of "learning_rate >= 0.11"; "" where none is known.

    Args:
        axis, condition, live, dead: as of `condition_text`.
    """
    if condition.op == "in":
        rest = [i for i in range(len(axis.levels)) if i not in condition.levels]
        other = HParamCondition(condition.axis, "in", levels=frozenset(rest))
        return condition_text(axis, other, live, dead)
    if math.isnan(live):
        return ""
    sign = "<=" if condition.op == "ge" else ">="
    return f"{axis.name} {sign} {threshold_text(live, dead, axis.whole)}"


def region_text(space: Space, region: Region, left: Bools) -> str:
    """Returns "optimizer = sgd and learning_rate >= 0.11"; `left` are the trials."""
    ordered = sorted(region.conditions, key=lambda c: (c.op != "in", c.axis))
    return " and ".join(
        condition_text(space.axes[c.axis], c, *bounds_of(space.axes, region, c, left))
        for c in ordered
    )


def threshold_text(dead: float, live: float, whole: bool) -> str:
    """Returns `dead` in few digits, rounded towards `live` but never up to it."""
    if whole:
        return f"{int(dead)}"
    if math.isnan(live):
        live = -math.inf
    for digits in range(2, 17):
        scale = 10.0 ** (digits - 1 - math.floor(math.log10(abs(dead)))) if dead else 1.0
        rounded = (math.floor if live < dead else math.ceil)(dead * scale) / scale
        short = float(f"{rounded:.{digits - 1}e}")
        if min(live, dead) < short <= dead if live < dead else dead <= short < live:
            return number_text(short)
    return number_text(dead)


def value_text(value: JSONScalar) -> str:
    """Returns a value of a choice in the form that users read."""
    return number_text(value) if isinstance(value, float) else str(value)


def p_text(p: float) -> str:
    """Returns a p-value at one digit, "0.002" or "5e-06"."""
    return f"{p:.1g}" if p > 0 else "1e-300"


def common_cause(space: Space, within: Bools | None = None) -> str | None:
    """Returns the cause that all bad trials share, None where they do not."""
    mask = space.bad if within is None else space.bad & within
    causes = {t.cause for t, is_bad in zip(space.trials, mask, strict=True) if is_bad}
    (cause,) = causes if len(causes) == 1 else (None,)
    return None if cause == "unknown" else cause


def suspects_of(space: Space, least: int = 2) -> list[int]:
    """Returns the axes whose values the bad trials' causes blame.

    A hyperparameter is known by its values, whatever it is called: that which equals
    the optimizer's learning rate in all trials whose cause is that rate is the rate.

    Args:
        space: the trials.
        least: so many trials must have such a cause. Of one alone the value may be that
            of a hyperparameter by chance.
    """
    about = np.array([np.nan if t.about is None else t.about for t in space.trials])
    known = space.bad & ~np.isnan(about)
    if known.sum() < least or known.sum() < _SUSPECT_SHARE * space.bad.sum():
        return []
    return [
        i
        for i, axis in enumerate(space.axes)
        if axis.ordered
        and len(set(axis.numbers[known])) >= least
        and np.allclose(axis.numbers[known], about[known], rtol=_SAME_NUMBER, atol=0)
    ]
