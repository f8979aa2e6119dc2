# SPDX-License-Identifier: Apache-2.0
"""A KerasTuner oracle that chooses trials near the frontier."""

from __future__ import annotations

import time
from typing import Any, Final

import keras_tuner
import numpy as np

from tb_nanwatch.record.schema import JSONScalar
from tb_nanwatch.stability.coordinates import Coordinates, Floats
from tb_nanwatch.stability.design import enough, next_values
from tb_nanwatch.stability.frontier import KnownFrontier, frontier_of
from tb_nanwatch.writing.search.tuner import declared

# A trial's metrics: 1 where it went bad, which is no failure; its steps and seconds.
WENT_BAD: Final = "went_bad"
STEPS: Final = "steps_run"
SECONDS: Final = "seconds"


class StabilityOracle(keras_tuner.Oracle):
    """Chooses the trials of a `StabilitySearch`.

    Its only state is the trials that KerasTuner keeps, so a resumed search goes on where it
    was.

    Args:
        max_trials: at most so many; it ends before where the frontier is known.
        seed: of the points that are drawn.
        **kwargs: as of `keras_tuner.Oracle`.
    """

    def __init__(self, max_trials: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(
            objective=keras_tuner.Objective(WENT_BAD, "min"),
            max_trials=max_trials,
            seed=seed,
            **kwargs,
        )

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial, or that none is needed."""
        coordinates, tried, bad = self.coordinates(), *self.outcomes()
        if len(bad) and enough(coordinates, frontier_of(coordinates, tried, bad)):
            return {"status": "STOPPED", "values": None}
        pending = [t.hyperparameters.values for t in self.ongoing_trials.values()]
        values = next_values(coordinates, tried, bad, pending, self.seed)
        return {"status": "RUNNING", "values": values}

    def coordinates(self) -> Coordinates:
        """Returns the search space as it is known by now."""
        return Coordinates.of(declared(self.hyperparameters))

    def outcomes(self) -> tuple[list[dict[str, JSONScalar]], Floats]:
        """Returns the values of all ended trials, and whether each went bad, 1.0 or 0.0.

        A trial that raised an exception tells nothing and is left out.
        """
        ended = [t for _, t in sorted(self.trials.items()) if t.score is not None]
        ended = [t for t in ended if t.status == "COMPLETED"]
        values = [dict(t.hyperparameters.values) for t in ended]
        return values, np.array([float(t.score > 0) for t in ended])

    def frontier(self) -> KnownFrontier | None:
        """Returns the frontier as it is known by now, None before the first outcome."""
        values, bad = self.outcomes()
        return frontier_of(self.coordinates(), values, bad) if len(bad) else None

    def spent(self) -> tuple[int, float]:
        """Returns the steps and seconds that all trials took."""
        found = [
            (t.metrics.get_best_value(STEPS) or 0, t.metrics.get_best_value(SECONDS) or 0)
            for t in self.trials.values()
            if t.metrics.exists(STEPS) and t.metrics.exists(SECONDS)
        ]
        return int(sum(s for s, _ in found)), float(sum(s for _, s in found))


def metrics(bad: bool, steps: int, began: float) -> dict[str, float]:
    """Returns the metrics of a trial: whether it went bad, its steps and its seconds.

    Args:
        bad: whether it went bad.
        steps: that it trained.
        began: of `time.monotonic`, as it began.
    """
    return {
        WENT_BAD: float(bad),
        STEPS: float(steps),
        SECONDS: time.monotonic() - began,
    }
