# SPDX-License-Identifier: Apache-2.0
"""Chooses the next trial, and decides when there are enough; pure.

The next trial is the one that is expected to take most doubt off the frontier: the
targeted integrated mean squared error of Picheny et al., Adaptive Designs of Experiments
for Accurate Approximation of a Target Region, J. Mech. Des. 132 (2010), over points
drawn as the search itself would draw them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from tb_nanwatch.record.schema import JSONScalar
from tb_nanwatch.stability.coordinates import Coordinates, Floats, Values
from tb_nanwatch.stability.frontier import KnownFrontier, model_of
from tb_nanwatch.stability.model import Model, normal_cdf

# Points that stand for the space, and points that may be tried.
_SAMPLE: Final = 400
# Fewer trials than this settle nothing: both ends, and a few between.
_LEAST: Final = 8
# Units from the frontier within which a trial tells where it runs.
_NEAR: Final = 3.0
# Trials after which a level that never came near a frontier is taken to have none.
_SEEN: Final = 3
_ANY: Final = 1 << 30


def enough(coordinates: Coordinates, frontier: KnownFrontier) -> bool:
    """Returns whether the frontier is known well enough to stop."""
    if frontier.bad in (0, frontier.trials):
        # Only the ends of every level say that nothing dies, or everything.
        return frontier.trials >= _corners(coordinates)
    known = frontier.trials >= _LEAST and not frontier.unsure
    return known and not _untried(coordinates, frontier.model)


def _corners(coordinates: Coordinates) -> int:
    """Returns how many corners are tried while all trials end alike."""
    levels = max((len(a.values) for a in coordinates.levelled), default=1)
    return max(_LEAST, levels + 5)


def _untried(coordinates: Coordinates, model: Model) -> list[tuple[int, int]]:
    """Returns the levels, (axis, level), that were never tried near the frontier.

    What a model says of them is what it knows of the others.
    """
    mean, _ = model.predict(model.tried)
    near = np.abs(mean) <= _NEAR * model.steepness
    codes = model.tried.codes
    return [
        (k, level)
        for k, axis in enumerate(coordinates.levelled)
        for level in range(len(axis.values))
        # A level may have no frontier: both ends and the middle say so.
        if not (codes[near, k] == level).any() and (codes[:, k] == level).sum() < _SEEN
    ]


def next_values(
    coordinates: Coordinates,
    values: Sequence[Mapping[str, JSONScalar]],
    bad: Floats,
    pending: Sequence[Mapping[str, JSONScalar]] = (),
    seed: int = 0,
) -> Values:
    """Returns the values to try next.

    Args:
        coordinates: of the space.
        values: of each ended trial.
        bad: [ended trials] 1.0 where it went bad, else 0.0.
        pending: values of trials that run at this moment elsewhere.
        seed: of the points that are drawn.
    """
    begun = len(values) + len(pending)
    rng = np.random.default_rng([seed, begun])
    alike = not 0 < bad.sum() < len(bad)
    if begun < 2 or (alike and begun < _corners(coordinates)):
        # The whole range may live, or die.
        return _corner(coordinates, begun, not bad.any(), rng)
    model = model_of(coordinates, coordinates.encode(values), bad)
    drawn = coordinates.sample(_SAMPLE, rng)
    drawn += [_corner(coordinates, _ANY, True, rng) for _ in range(16)]
    points = coordinates.encode(drawn)
    open_levels = np.ones(len(drawn), np.bool_)
    for k, level in _untried(coordinates, model) if begun >= _LEAST / 2 else ():
        if (points.codes[:, k] == level).any():
            open_levels = points.codes[:, k] == level
            break
    mean, _ = model.predict(points)
    covariance = model.covariance(points, points)
    doubt = np.maximum(np.diag(covariance), 1e-9)
    target = np.exp(-0.5 * mean**2 / doubt) / np.sqrt(doubt)
    if pending:
        # Trials under way will reduce the uncertainty, whatever their outcome.
        running = coordinates.encode(pending)
        joint = points.joined(running)
        whole = model.covariance(joint, joint)
        means, _ = model.predict(joint)
        for i in range(len(points), len(joint)):
            told = _told(means[i], np.maximum(whole[i, i], 0.0))
            whole = whole - np.outer(whole[i], whole[i]) * told
        covariance = whole[: len(points), : len(points)]
    variance = np.maximum(np.diag(covariance), 1e-9)
    gain = (target[:, None] * covariance**2).sum(axis=0) * _told(mean, variance)
    return drawn[int(np.argmax(np.where(open_levels, gain, -1.0)))]


def _told(mean: Floats, variance: Floats) -> Floats:
    """Returns the expected information of an outcome about all values correlated with it.

    Times the squared covariance with f elsewhere it is the expected fall of the variance
    there. It is next to nothing where the outcome is foreseen.
    """
    wide = variance + 1
    z = np.clip(mean / np.sqrt(wide), -8, 8)
    phi = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    above = normal_cdf(z)
    return np.asarray(phi**2 / np.maximum(above * (1 - above), 1e-15) / wide)


def _corner(
    coordinates: Coordinates, number: int, up: bool, rng: np.random.Generator
) -> Values:
    """Returns values with every number at an end.

    Args:
        coordinates: of the space.
        number: of the corner; 0 is all low and 1 all high, then come the other levels at
            one of these, and then any corners.
        up: whether these are at the high end: nothing has died so far.
        rng: for the others.
    """
    positions: dict[str, float] = {}
    levels = max((len(a.values) for a in coordinates.levelled), default=1)
    ordered = number <= levels
    for axis in coordinates.axes:
        half = axis.units / 2
        if not axis.numeric:
            any_level = int(rng.integers(len(axis.values)))
            level = max(0, number - 1) % len(axis.values)
            positions[axis.name] = float(level if ordered else any_level)
        elif ordered:
            high = number == 1 or (number > 1 and up)
            positions[axis.name] = half if high else -half
        else:
            positions[axis.name] = half if rng.integers(2) else -half
    return coordinates.decode(positions)
