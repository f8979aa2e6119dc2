# SPDX-License-Identifier: Apache-2.0
"""How many trials went bad at each value of each hyperparameter; pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tb_nanwatch.reading.contract.searches import Rate
from tb_nanwatch.reading.search.axes import Axis, Bools
from tb_nanwatch.reading.search.statistics import wilson
from tb_nanwatch.reading.search.trials import Space, counts, value_text

# Bins along an axis in which rates are given.
_RATE_BINS: Final = 5


def rates_of(space: Space) -> list[Rate]:
    """Returns the rates of every hyperparameter that took several values."""
    rates = []
    for axis in space.axes:
        for label, mask in _parts(axis):
            bad, total = counts(space, mask)
            rates.append(Rate(axis.name, label, bad, total, *wilson(bad, total)))
    return rates


def _parts(axis: Axis) -> list[tuple[str, Bools]]:
    """Returns the axis in parts: its values, or bins with as many trials each."""
    if not axis.ordered:
        return [(value_text(v), axis.codes == i) for i, v in enumerate(axis.levels)]
    known = axis.numbers[~np.isnan(axis.numbers)]
    values = np.unique(known)
    if len(values) <= 2 * _RATE_BINS:
        return [(_short(v, axis), axis.numbers == v) for v in values]
    edges: Any = np.unique(np.quantile(known, np.linspace(0, 1, _RATE_BINS + 1)))
    parts = []
    for i in range(len(edges) - 1):
        last = i == len(edges) - 2
        with np.errstate(invalid="ignore"):
            below = axis.numbers <= edges[i + 1] if last else axis.numbers < edges[i + 1]
            mask = (axis.numbers >= edges[i]) & below
        if mask.any():
            low, high = axis.numbers[mask].min(), axis.numbers[mask].max()
            parts.append((f"{_short(low, axis)} to {_short(high, axis)}", mask))
    return parts


def _short(value: float, axis: Axis) -> str:
    return f"{int(value)}" if axis.whole else f"{value:.3g}"
