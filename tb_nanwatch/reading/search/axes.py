# SPDX-License-Identifier: Apache-2.0
"""A search's hyperparameters as axes, and the conditions that can be tried on them; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tb_nanwatch.declaring.cut import Cut, short_between
from tb_nanwatch.record.schema import HParam, JSONScalar

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

Op = Literal["ge", "le", "in"]

# A condition that holds in, or leaves out, fewer trials than this says nothing that a
# test could confirm, and each one more looked at costs all others.
MIN_SIDE: Final = 2
# With more distinct values than this, cuts are tried at quantiles and then refined.
MAX_CUTS: Final = 128
# All subsets of so many choices are tried (2 ** 5 - 2 = 30); of more, one or two of
# them and all but one or two.
MAX_SUBSET_LEVELS: Final = 5


@dataclass(frozen=True)
class HParamCondition:
    """A condition on one hyperparameter.

    Attributes:
        axis: index of the axis.
        op: "ge" or "le" against the value `at`, or "in" a set of levels.
        at: an observed value; the condition includes it.
        levels: indices into the axis' levels.
    """

    axis: int
    op: Op
    at: float = math.nan
    levels: frozenset[int] = frozenset()


@dataclass
class Axis:
    """One hyperparameter over all trials of a search.

    Attributes:
        name: the hyperparameter's.
        specs: its declarations, each distinct one once: the same name may stand in
            several conditional scopes with different bounds.
        numbers: float [trials], NaN where inactive or not a number.
        codes: int [trials], index into `levels`, -1 where inactive.
        levels: distinct values of an axis without an order.
        ordered: whether thresholds make sense.
        log: whether it was sampled on a log scale, or looks so.
        whole: whether its values are integers.
    """

    name: str
    specs: list[HParam] = field(default_factory=list)
    numbers: Floats = field(default_factory=lambda: np.zeros(0))
    codes: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))
    levels: list[JSONScalar] = field(default_factory=list)
    ordered: bool = False
    log: bool = False
    whole: bool = False

    def holds(self, condition: HParamCondition) -> Bools:
        """Returns for each trial whether `condition` holds; never where inactive."""
        if condition.op == "in":
            inside: Bools = np.isin(self.codes, sorted(condition.levels))
            return inside
        with np.errstate(invalid="ignore"):
            if condition.op == "ge":
                return self.numbers >= condition.at
            return self.numbers <= condition.at


def axes_of(trials: Sequence[Sequence[HParam]]) -> list[Axis]:
    """Returns the hyperparameters that took at least two values, in the space's order.

    Args:
        trials: the hyperparameters of each trial.
    """
    names: dict[str, None] = {}
    for hparams in trials:
        names.update(dict.fromkeys(h.name for h in hparams))
    by_name = [{h.name: h for h in hparams} for hparams in trials]
    axes = [_axis(name, [t.get(name) for t in by_name]) for name in names]
    return [axis for axis in axes if axis is not None]


def _axis(name: str, column: Sequence[HParam | None]) -> Axis | None:
    found = [
        h if h is not None and h.active and h.value is not None else None for h in column
    ]
    specs = distinct_specs([h for h in column if h is not None])
    values = [h.value if h is not None else None for h in found]
    present = [v for v in values if v is not None]
    axis = Axis(name, specs)
    axis.ordered = bool(present) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in present
    )
    if any(s.type == "choice" and s.ordered is False for s in specs):
        axis.ordered = False
    if axis.ordered:
        axis.numbers = np.array([math.nan if v is None else _float(v) for v in values])
        axis.numbers[~np.isfinite(axis.numbers)] = math.nan
        known = axis.numbers[~np.isnan(axis.numbers)]
        axis.whole = all(isinstance(v, int) for v in present)
        axis.log = _is_log(specs, known)
        return axis if len(np.unique(known)) > 1 else None
    keys: dict[tuple[str, str], int] = {}
    codes = []
    for v in values:
        if v is None:
            codes.append(-1)
            continue
        key = (type(v).__name__, repr(v))
        if key not in keys:
            keys[key] = len(axis.levels)
            axis.levels.append(v)
        codes.append(keys[key])
    axis.codes = np.array(codes, np.int64)
    return axis if len(axis.levels) > 1 else None


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.nan


def distinct_specs(hparams: Sequence[HParam]) -> list[HParam]:
    """Returns the declaration of each scope, the newest where it was changed.

    A trial's record holds the declaration that was active in it; that of a scope which
    never was active counts only where no other one is known.
    """
    active = {repr(h.conditions): h for h in hparams if h.active}
    return list(active.values()) or list(hparams[:1])


def _is_log(specs: Sequence[HParam], known: Floats) -> bool:
    if any(s.sampling in ("log", "reverse_log") for s in specs):
        return all(s.sampling != "reverse_log" for s in specs)
    if any(s.type in ("int", "float") for s in specs):
        return False
    # Choices and plain values: 1e-4, 1e-3, 1e-2 are meant as a log scale.
    return len(known) > 0 and known.min() > 0 and known.max() / known.min() >= 100


def conditions(
    index: int, axis: Axis, max_cuts: int, pairable: bool = False
) -> list[HParamCondition]:
    """Returns the conditions to try on one axis, the simplest first.

    Args:
        index: the axis' index, kept in the conditions.
        axis: to be cut.
        max_cuts: places at which an axis with an order is cut.
        pairable: only as many as can be combined with those of another axis.
    """
    if axis.ordered:
        values = np.unique(axis.numbers[~np.isnan(axis.numbers)])
        cuts = cut_values(axis, values, max_cuts)
        below = values[np.searchsorted(values, cuts) - 1]
        return [
            *(HParamCondition(index, "ge", float(v)) for v in cuts),
            *(HParamCondition(index, "le", float(v)) for v in below),
        ]
    n = len(axis.levels)
    sizes = list(range(1, n))
    if n > MAX_SUBSET_LEVELS:
        few = pairable or n > 4 * MAX_SUBSET_LEVELS
        sizes = sorted({1, n - 1} if few else {1, 2, n - 2, n - 1})
    return [
        HParamCondition(index, "in", levels=frozenset(levels))
        for size in sizes
        for levels in combinations(range(n), size)
    ]


def cut_values(axis: Axis, values: Floats, max_cuts: int) -> Floats:
    """Returns values v for which "at least v" is a cut, at most `max_cuts`.

    Args:
        axis: an axis with an order.
        values: its distinct values, sorted.
        max_cuts: above this many, quantiles of the trials.
    """
    if len(values) - 1 <= max_cuts:
        return values[1:]
    known = np.sort(axis.numbers[~np.isnan(axis.numbers)])
    places = np.linspace(0, len(known), max_cuts + 2)[1:-1].astype(int)
    cuts: Floats = np.unique(known[places])
    above: Floats = cuts[cuts > values[0]]
    return above


def cut_of(axis: Axis, condition: HParamCondition, live: float, dead: float) -> Cut:
    """Returns the cut that a condition asks for.

    Args:
        axis: the condition's.
        condition: the region's.
        live, dead: for a threshold, the observed values next to the cut on the side
            that stays and on the side that goes.
    """
    if condition.op == "in":
        gone = tuple(axis.levels[i] for i in sorted(condition.levels))
        return Cut(axis.name, "in", values=gone)
    if math.isnan(live):  # nothing lives on the other side: all of it goes
        return Cut(
            axis.name, condition.op, -math.inf if condition.op == "ge" else math.inf
        )
    bound = short_between(live, dead, axis.log)
    return Cut(axis.name, condition.op, bound)
