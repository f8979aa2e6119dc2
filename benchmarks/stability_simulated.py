# SPDX-License-Identifier: Apache-2.0
"""Stability searches on made-up frontiers where the larger rates do not kill every seed.

`python -m benchmarks.stability_simulated [--seeds 5]` prints a line a frontier: trials, what
of the space is told to be on the wrong side, and how many boundaries stay unsure. Nothing is
trained. `docs/stability.md` has the figures.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tb_nanwatch.record.schema import HParam, JSONScalar
from tb_nanwatch.stability.coordinates import Coordinates, Values
from tb_nanwatch.stability.design import enough, next_values
from tb_nanwatch.stability.frontier import frontier_of

TRIALS = 40
# Points at which a frontier is compared with the truth, and decades beyond which what is
# wrong is far from it.
POINTS, FAR = 800, 1 / 3
SLOPE, WIDE = 0.12 / 1.28, 0.4
RATE = HParam("rate", type="float", min=1e-4, max=1e2, sampling="log", default=1e-4)


@dataclass(frozen=True)
class Level:
    """How trainings die along the rate, at one level of the choices.

    Attributes:
        edge: decades, the rate's logarithm in the middle of the way from life to death.
        noise: decades, standard deviation of that way.
        most: share of the seeds that die at the largest rates.
    """

    edge: float
    noise: float = SLOPE
    most: float = 1.0

    def beyond(self, rate: float) -> float:
        """Returns the decades beyond where half of the seeds die."""
        half = self.edge + self.noise * NormalDist().inv_cdf(0.5 / self.most)
        return math.log10(rate) - half

    def dies(self, rate: float, rng: np.random.Generator) -> bool:
        """Returns whether one training dies."""
        gone = math.log10(rate) - self.edge + self.noise * rng.normal() > 0
        return bool(gone and rng.random() < self.most)


Frontier = tuple[list[HParam], Callable[[Values], Level]]


def _choice(name: str, *values: JSONScalar) -> HParam:
    listed = list(values)
    return HParam(name, type="choice", values=listed, ordered=False, default=values[0])


def _one(level: Level) -> Frontier:
    return [RATE], lambda values: level


def _four(last: Level) -> Frontier:
    """Two optimizers by two precisions, of which the last pair is given."""
    levels = {
        ("float32", "sgd"): Level(-0.3),
        ("float32", "adam"): Level(1.0),
        ("float16", "sgd"): Level(-0.3),
        ("float16", "adam"): last,
    }
    specs = [RATE, _choice("optimizer", "sgd", "adam")]
    specs.append(_choice("precision", "float32", "float16"))
    return specs, lambda v: levels[str(v["precision"]), str(v["optimizer"])]


FRONTIERS: dict[str, Frontier] = {
    "one rate": _one(Level(-0.5)),
    "one rate, 80 % die": _one(Level(-0.5, most=0.8)),
    "one rate, 80 % die, a long way": _one(Level(-0.5, WIDE, 0.8)),
    "one of four categories, 80 % die, a long way": _four(Level(-1.3, WIDE, 0.8)),
}


def searched(name: str, seed: int) -> tuple[int, float, float, int, int]:
    """Runs a search; returns trials, wrong and far wrong shares, unsure and boundaries."""
    specs, level_of = FRONTIERS[name]
    space, rng = Coordinates.of(specs), np.random.default_rng(1000 + seed)
    values: list[Values] = []
    bad: list[float] = []
    for _ in range(TRIALS):
        chosen = next_values(space, values, np.array(bad), seed=seed)
        values.append(chosen)
        bad.append(float(level_of(chosen).dies(float(str(chosen["rate"])), rng)))
        found = frontier_of(space, values, np.array(bad))
        if enough(space, found):
            break
    points = space.sample(POINTS, np.random.default_rng(5))
    mean, _ = found.model.predict(space.encode(points))
    truth = np.array([level_of(p).beyond(float(str(p["rate"]))) for p in points])
    wrong = (mean > 0) != (truth > 0)
    far = wrong & (np.abs(truth) > FAR)
    unsure = len(found.unsure), len(found.boundaries)
    return len(bad), float(wrong.mean()), float(far.mean()), *unsure


def main() -> None:
    """Prints a line for each frontier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    for name in FRONTIERS:
        runs = np.array([searched(name, seed) for seed in range(seeds)])
        trials, wrong, far, unsure, boundaries = runs.mean(axis=0)
        print(
            f"| {name} | {trials:.0f} ({runs[:, 0].max():.0f}) | {wrong:.1%} | {far:.1%} | "
            f"{unsure:.1f} of {boundaries:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
