# SPDX-License-Identifier: Apache-2.0
"""A watched fit of which steps are compiled: what is in front of each of its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax

from tb_nanwatch.compat.jax import each_step_through
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.jax.sums import plain_logs

Step = Callable[[Any, Any], tuple[Any, Any]]


class Follows(fits.Watching, Protocol):
    """An instrument, as the steps of the fit see it. No method raises."""

    def begins(self, phase: Phase, step: Step, state: Any, data: Any) -> None:
        """Says that a step is about to run."""

    def ended(self, phase: Phase, logs: Any, state: Any) -> None:
        """Says what a step returned."""


class WatchedFit(fits.WatchedFit):
    """One fit that is watched by one or more instruments.

    Args:
        model: that is fitted.
        caller: the fit.
    """

    instruments: list[Follows]  # type: ignore[assignment]

    def __init__(self, model: Any, caller: fits.Caller) -> None:
        super().__init__(model, caller)
        # The steps as they are without probes, to go on with where probes fail.
        self._plain_steps: dict[Phase, Step] = {}

        def catch(phase: Phase) -> Callable[[Step], Step]:
            def wrap(step: Step) -> Step:
                self._plain_steps[phase] = step
                return step

            return wrap

        self._make(catch)
        for phase, name in fits.FUNCTIONS.items():
            setattr(model, name, self.before[phase])

    def make_probed(self) -> None:
        """Has the model's functions made anew; the probes are in the model."""
        self._make(self._through)

    def _make(self, wrap: Callable[[Phase], Callable[[Step], Step]]) -> None:
        with each_step_through(self.model, wrap("train")):
            self.model.make_train_function(force=True)
        with each_step_through(self.model, wrap("validation")):
            self.model.make_test_function(force=True)

    def _through(self, phase: Phase) -> Callable[[Step], Step]:
        def wrap(step: Step) -> Step:
            def watched(state: Any, data: Any) -> tuple[Any, Any]:
                if not self.instruments:
                    return self._plain_steps[phase](state, data)
                for instrument in list(self.instruments):
                    instrument.begins(phase, step, state, data)
                try:
                    logs, after = step(state, data)
                except Exception as e:
                    return self._without_probes(phase, state, data, e)
                for instrument in list(self.instruments):
                    instrument.ended(phase, logs, after)
                return plain_logs(logs), after

            return watched

        return wrap

    def _without_probes(
        self, phase: Phase, state: Any, data: Any, error: Exception
    ) -> tuple[Any, Any]:
        """Runs a step that failed once more, without probes: whose error is it?

        A step that was compiled fails before it takes its state; if not, it cannot be run.
        """
        leaves = jax.tree.leaves((state, data))
        gone = any(isinstance(v, jax.Array) and v.is_deleted() for v in leaves)
        if self.model.run_eagerly or gone:
            raise error
        instruments = list(self.instruments)
        with self.aside():
            logs, after = self._plain_steps[phase](state, data)
        for instrument in instruments:
            instrument.gave_up(error)
        return plain_logs(logs), after
