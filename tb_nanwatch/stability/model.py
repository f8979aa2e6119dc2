# SPDX-License-Identifier: Apache-2.0
"""How likely a set of values goes bad: a Gaussian process seen through outcomes; pure.

A training goes bad with the probability Phi(f), so that half of the seeds die where f is
0. f is a sum of parts (one axis' slope, its bend, the shift of a category, ...), each
Gaussian with its own scale, which the outcomes' marginal likelihood chooses: a part that
they do not call for is left out. Expectation propagation as in Rasmussen and Williams,
Gaussian Processes for Machine Learning (2006), section 3.6. Laplace's approximation will
not do: outcomes that are foreseen tell it next to nothing, and it asks for them for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from tb_nanwatch.stability.coordinates import Floats, Points

# Standard deviations of f that are tried for each kind of part, of slopes a unit: at 3 a frontier is crossed within a unit. The first is the one of a part
# of which nothing is known yet.
_SCALES: Final[dict[str, tuple[float, ...]]] = {
    "slope": (1.0, 0.02, 0.1, 0.3, 3.0),
    "bend": (0.1, 0.0, 0.3, 1.0, 3.0),
    "product": (0.0, 0.1, 0.3, 1.0),
    "shift": (2.0, 0.0, 6.0, 18.0),
    "slope of level": (0.0, 0.3, 1.0),
    "pair": (1.0, 0.0, 4.0, 12.0),
}
# What a part's own scale must add to the log likelihood: a few outcomes prove nothing.
_PRICE: Final = 0.3
_BIAS: Final = 4.0
_SWEEPS: Final = 2
_ROUNDS: Final = 40
_DAMPING: Final = 0.8
_JITTER: Final = 1e-6


@dataclass(frozen=True)
class Parts:
    """The additive parts of f: which axes they belong to, and their kinds.

    Attributes:
        kinds: of each part, a key of `_SCALES`.
        half: [numeric axes] units from the middle to the end of an axis.
    """

    kinds: tuple[tuple[str, tuple[int, ...]], ...]
    half: Floats

    @classmethod
    def of(cls, half: Floats, levelled: int) -> Parts:
        """Returns the parts for numeric axes of these half ranges and others."""
        numeric = range(len(half))
        found: list[tuple[str, tuple[int, ...]]] = [("slope", (d,)) for d in numeric]
        found += [("shift", (k,)) for k in range(levelled)]
        found += [("bend", (d,)) for d in numeric]
        found += [("pair", p) for p in combinations(range(levelled), 2)]
        found += [("product", p) for p in combinations(numeric, 2)]
        found += [("slope of level", (k, d)) for k in range(levelled) for d in numeric]
        return cls(tuple(found), np.maximum(half, 0.5))

    def covariances(self, a: Points, b: Points) -> Floats:
        """Returns [parts, points of a, points of b] for parts of scale 1."""
        found = np.empty((len(self.kinds), len(a), len(b)))
        for i, (kind, of) in enumerate(self.kinds):
            found[i] = self._covariance(kind, of, a, b)
        return found

    def _covariance(self, kind: str, of: tuple[int, ...], a: Points, b: Points) -> Floats:
        if kind == "slope":
            return np.outer(a.numbers[:, of[0]], b.numbers[:, of[0]])
        if kind == "bend":
            half = self.half[of[0]]
            x, y = (p.numbers[:, of[0]] ** 2 / half - half / 3 for p in (a, b))
            return np.outer(x, y)
        if kind == "product":
            scale = math.sqrt(self.half[of[0]] * self.half[of[1]])
            x, y = (p.numbers[:, of[0]] * p.numbers[:, of[1]] / scale for p in (a, b))
            return np.outer(x, y)
        same = _same(a, b, of[0])
        if kind == "shift":
            return same
        if kind == "pair":
            return np.asarray(same * _same(a, b, of[1]))
        return np.asarray(same * np.outer(a.numbers[:, of[1]], b.numbers[:, of[1]]))

    def variances(self, a: Points) -> Floats:
        """Returns [parts, points], the diagonals of `covariances(a, a)`."""
        found = np.ones((len(self.kinds), len(a)))
        for i, (kind, of) in enumerate(self.kinds):
            if kind == "slope":
                found[i] = a.numbers[:, of[0]] ** 2
            elif kind == "bend":
                half = self.half[of[0]]
                found[i] = (a.numbers[:, of[0]] ** 2 / half - half / 3) ** 2
            elif kind == "product":
                product = a.numbers[:, of[0]] * a.numbers[:, of[1]]
                found[i] = product**2 / (self.half[of[0]] * self.half[of[1]])
            elif kind == "slope of level":
                found[i] = a.numbers[:, of[1]] ** 2
        return found


def _same(a: Points, b: Points, k: int) -> Floats:
    return np.asarray(a.codes[:, k][:, None] == b.codes[:, k][None], np.float64)


@dataclass(frozen=True)
class Posterior:
    """The belief about f at the tried points, for one choice of scales.

    Attributes:
        evidence: log marginal likelihood.
        pull: [points] what f elsewhere is drawn by: its mean is covariance times this.
        root: [points] square roots of the precision that outcomes bring.
        lower: [points, points] Cholesky factor of 1 + root covariance root.
    """

    evidence: float
    pull: Floats
    root: Floats
    lower: Floats


def normal_cdf(z: Floats) -> Floats:
    """Returns the standard normal distribution function, exact in its lower tail too."""
    erfc = np.frompyfunc(math.erfc, 1, 1)
    tail = np.asarray(erfc(-z / math.sqrt(2)), np.float64)
    return np.asarray(0.5 * tail)


def _posterior(covariance: Floats, bad: Floats) -> Posterior:
    """Returns the posterior by expectation propagation, all sites at once.

    Args:
        covariance: [n, n] of f.
        bad: [n] 1.0 where it went bad, else 0.0.
    """
    n = len(bad)
    sign = 2 * bad - 1
    precision, shift = np.full(n, 1e-6), np.zeros(n)
    evidence = -math.inf
    for _ in range(_ROUNDS):
        root = np.sqrt(precision)
        lower = np.linalg.cholesky(np.eye(n) + root[:, None] * covariance * root)
        half = np.linalg.solve(lower, root[:, None] * covariance)
        joint = covariance - half.T @ half
        mean, variance = joint @ shift, np.maximum(np.diag(joint), 1e-12)
        # Without its own outcome.
        cavity = np.maximum(1 / variance - precision, 1e-12)
        cavity_shift = mean / variance - shift
        around, wide = cavity_shift / cavity, 1 / cavity
        z = np.clip(sign * around / np.sqrt(1 + wide), -30, 30)
        phi = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        passed = np.maximum(normal_cdf(z), 1e-250)
        ratio = phi / passed
        told = around + sign * wide * ratio / np.sqrt(1 + wide)
        left = np.maximum(wide - wide**2 * ratio * (z + ratio) / (1 + wide), 1e-12)
        before, evidence = evidence, float(
            np.log(passed).sum()
            + 0.5 * np.log1p(precision / cavity).sum()
            - np.log(np.diag(lower)).sum()
            + 0.5 * shift @ mean
            - 0.5 * (shift**2 / (cavity + precision)).sum()
            + 0.5
            * (
                around * cavity / (cavity + precision)
                * (precision * around - 2 * shift)
            ).sum()
        )  # fmt: skip
        if abs(evidence - before) < 1e-3:
            break
        new = np.maximum(1 / left - cavity, 1e-9)
        precision = (1 - _DAMPING) * precision + _DAMPING * new
        shift = (1 - _DAMPING) * shift + _DAMPING * (told / left - cavity_shift)
    pull = shift - root * np.linalg.solve(
        lower.T, np.linalg.solve(lower, root * (covariance @ shift))
    )
    return Posterior(evidence, pull, root, lower)


@dataclass(frozen=True)
class Model:
    """The model of the whole space, fitted to the outcomes so far.

    Attributes:
        parts: of f.
        weights: [parts] variances of the parts.
        tried: the points that outcomes are known of.
        posterior: of f there.
    """

    parts: Parts
    weights: Floats
    tried: Points
    posterior: Posterior

    @property
    def steepness(self) -> float:
        """By how much f is likely to change within a unit, along its steepest axis."""
        slopes = [
            w for w, (kind, _) in zip(self.weights, self.parts.kinds, strict=True)
            if kind == "slope"
        ]  # fmt: skip
        return math.sqrt(max(slopes, default=1.0))

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Returns mean and standard deviation of f, [points] each."""
        cross = self._cross(points)
        mean = cross @ self.posterior.pull
        half = np.linalg.solve(self.posterior.lower, (self.posterior.root * cross).T)
        prior = np.tensordot(self.weights, self.parts.variances(points), 1) + _BIAS**2
        return mean, np.sqrt(np.maximum(prior - (half**2).sum(axis=0), 1e-9))

    def covariance(self, a: Points, b: Points) -> Floats:
        """Returns the posterior covariance of f, [points of a, points of b]."""
        prior = np.tensordot(self.weights, self.parts.covariances(a, b), 1) + _BIAS**2
        halves = [
            np.linalg.solve(self.posterior.lower, (self.posterior.root * c).T)
            for c in (self._cross(a), self._cross(b))
        ]
        return np.asarray(prior - halves[0].T @ halves[1])

    def _cross(self, points: Points) -> Floats:
        covariances = self.parts.covariances(points, self.tried)
        return np.asarray(np.tensordot(self.weights, covariances, 1) + _BIAS**2)


def fit(half: Floats, tried: Points, bad: Floats) -> Model:
    """Returns the model whose scales the outcomes make most likely.

    Args:
        half: [numeric axes] units from the middle to the end of each axis.
        tried: the points.
        bad: [points] 1.0 where it went bad, else 0.0.
    """
    parts = Parts.of(half, tried.codes.shape[1])
    covariances = parts.covariances(tried, tried)
    base = np.full((len(tried), len(tried)), _BIAS**2) + _JITTER * np.eye(len(tried))
    options = [_SCALES[kind] for kind, _ in parts.kinds]
    chosen = usual = np.array([o[0] for o in options])

    def attempt(scales: Floats) -> tuple[float, Posterior]:
        covariance = base + np.tensordot(scales**2, covariances, 1)
        found = _posterior(covariance, bad)
        return found.evidence - _PRICE * np.count_nonzero(scales != usual), found

    value, best = attempt(chosen)
    # A single outcome tells nothing about parts.
    for _ in range(_SWEEPS if 0 < bad.sum() < len(bad) else 1):
        before = value
        for i, scales in enumerate(options):
            if np.ptp(covariances[i]) == 0:
                continue  # no two points differ in it
            for scale in scales:
                if scale == chosen[i]:
                    continue
                other = chosen.copy()
                other[i] = scale
                try:
                    found, posterior = attempt(other)
                except np.linalg.LinAlgError:
                    continue
                if found > value + 1e-6:
                    value, best, chosen = found, posterior, other
        if value - before < 0.05:
            break
    return Model(parts, chosen**2, tried, best)
