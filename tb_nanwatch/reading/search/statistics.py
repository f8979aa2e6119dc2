# SPDX-License-Identifier: Apache-2.0
"""Exact tests and intervals for counts, with NumPy alone: viewing installs no SciPy."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[Any]

# Of the normal distribution, for a two-sided interval of 95 %.
Z95: Final = 1.959963984540054
# Two probabilities count as equal within this share: rounding of sums of logarithms.
_EQUAL: Final = 1e-7


def wilson(hits: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Returns Wilson's score interval of a rate; (0, 1) where nothing was tried."""
    if total <= 0:
        return 0.0, 1.0
    rate = hits / total
    denominator = 1 + z * z / total
    centre = (rate + z * z / (2 * total)) / denominator
    half = z * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    half /= denominator
    # At 0 and 1 the ends are exact; rounding must not leave [0, 1].
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    high = 1.0 if hits == total else min(1.0, centre + half)
    return low, high


def log_factorials(n: int) -> Floats:
    """Returns log(0!), ..., log(n!)."""
    logs = np.log(np.maximum(np.arange(n + 1, dtype=np.float64), 1.0))
    sums: Floats = np.cumsum(logs)
    return sums


def log_tails(total: int, bad: int, sizes: Ints) -> Floats:
    """Returns log P(X >= k) for hypergeometric X, [len(sizes), bad + 1].

    X is the number of bad ones among `size` drawn from `total` that hold `bad`: the
    one-sided p-value of Fisher's exact test with these margins.

    Args:
        total: trials in all.
        bad: bad ones among them.
        sizes: int [n], how many are drawn.
    """
    logs = log_factorials(total)
    k = np.arange(bad + 1)[None, :]
    size = np.asarray(sizes, np.int64)[:, None]
    possible = (k <= size) & (size - k <= total - bad)
    a, b = np.where(possible, size - k, 0), np.where(possible, total - bad - size + k, 0)
    log_mass = (
        logs[bad]
        - logs[k]
        - logs[bad - k]
        + logs[total - bad]
        - logs[a]
        - logs[b]
        - (logs[total] - logs[size] - logs[total - size])
    )
    log_mass = np.where(possible, log_mass, -np.inf)
    tails: Floats = np.logaddexp.accumulate(log_mass[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(tails, 0.0)


def fisher_exact(inside: tuple[int, int], outside: tuple[int, int]) -> float:
    """Returns the two-sided p-value of Fisher's exact test.

    Args:
        inside: (bad, total) of one group.
        outside: (bad, total) of the other.
    """
    bad, total = inside[0] + outside[0], inside[1] + outside[1]
    logs = log_factorials(total)

    def log_choose(n: int, k: int) -> float:
        return float(logs[n] - logs[k] - logs[n - k])

    def log_mass(k: int) -> float:
        return (
            log_choose(bad, k)
            + log_choose(total - bad, inside[1] - k)
            - log_choose(total, inside[1])
        )

    observed = log_mass(inside[0])
    possible = range(max(0, inside[1] - (total - bad)), min(bad, inside[1]) + 1)
    masses = [log_mass(k) for k in possible]
    as_rare = [m for m in masses if m <= observed + _EQUAL]
    return min(1.0, math.fsum(math.exp(m) for m in as_rare))


# Parameters of the symmetric beta prior of a rate. A quarter puts it near 0 or 1 more
# often than in between: where a hyperparameter kills a training, it kills nearly all.
PRIOR: Final = 0.25


class Marginal:
    """The log probability of counts, averaged over a rate's prior.

    That of a Bernoulli sequence; it weighs fit against the freedom to fit.

    Args:
        most: the largest total that is asked for.
    """

    def __init__(self, most: int) -> None:
        counts = range(most + 1)
        self._part = np.array([math.lgamma(i + PRIOR) for i in counts])
        self._whole = np.array([math.lgamma(i + 2 * PRIOR) for i in counts])
        self._part -= self._part[0]
        self._whole -= self._whole[0]

    def __call__(self, bad: Ints, total: Ints) -> Floats:
        """Returns the log probability for `bad` of `total`, int arrays of one shape."""
        value: Floats = self._part[bad] + self._part[total - bad] - self._whole[total]
        return value
