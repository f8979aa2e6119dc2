# SPDX-License-Identifier: Apache-2.0
"""StabilitySearch: a KerasTuner tuner that finds the frontier before the real search."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Sequence
from typing import Any

import keras_tuner

from tb_nanwatch.compat.kerastuner import built, is_shared
from tb_nanwatch.errors import UnsupportedError, warn
from tb_nanwatch.stability import log, told
from tb_nanwatch.stability.frontier import KnownFrontier
from tb_nanwatch.stability.oracle import StabilityOracle, metrics
from tb_nanwatch.stability.space import StableSpace, stable_space_of
from tb_nanwatch.stability.trial import by_name, train
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.writing.callback import NanWatch


class StabilitySearch(keras_tuner.Tuner):
    """Finds which hyperparameter values can be trained at all, before the real search.

    Its trials are short, and end at the first bad step; one that goes bad is an outcome
    and no failure of KerasTuner's. Each trial is placed where the frontier between stable
    values and those that go bad is least known; when it is known well enough, the search
    ends.

    Args:
        hypermodel: as of `keras_tuner.RandomSearch`.
        hyperparameters: likewise.
        max_trials: at most so many short trials.
        steps: training steps of a trial. What goes bad later is not seen.
        log_dir: where NaN Watch logs, for `tb-nanwatch report` and the tab; by default
            that of a `NanWatch` given to `search`, else "nanwatch" in the project's
            directory. Give it the real search's, and the report tells what came of it.
        seed: of the choice of trials.
        tune_new_entries, allow_new_entries, max_retries_per_trial,
            max_consecutive_failed_trials: as of `keras_tuner.RandomSearch`; a failed trial
            is one that raised an exception.
        **kwargs: as of `keras_tuner.Tuner`: directory, project_name, overwrite, ...

    Raises:
        TypeError, ValueError: an argument is invalid.

    Example:
    ```python
    frontier = StabilitySearch(build, log_dir="logs", project_name="frontier")
    frontier.search(x, y)
    frontier.report()
    tuner = keras_tuner.RandomSearch(
        build, objective="val_loss", hyperparameters=frontier.stable_space()
    )
    ```
    """

    nanwatch_purpose = "stability"

    def __init__(  # noqa: PLR0913 (as KerasTuner's tuners)
        self,
        hypermodel: Any,
        hyperparameters: Any = None,
        max_trials: int = 40,
        steps: int = 200,
        *,
        log_dir: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        if hypermodel is None:
            raise ValueError(
                "hypermodel must be a function of hp that returns a model, or a "
                "keras_tuner.HyperModel; received None."
            )
        for name, value in (("max_trials", max_trials), ("steps", steps)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"{name} must be an integer of at least 1; received {value!r}."
                )
        for name in ("objective", "executions_per_trial"):
            if name in kwargs:
                raise TypeError(
                    f"StabilitySearch takes no {name}: a trial is one short training, and "
                    "counts as gone bad or not. Leave it out here, and give it to the real "
                    "search."
                )
        self.steps = steps
        self._log_dir = None if log_dir is None else os.fsdecode(log_dir)
        oracle = StabilityOracle(
            max_trials,
            seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        super().__init__(oracle, hypermodel, **kwargs)

    # --- Searching ----------------------------------------------------------------

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Runs the short trials.

        Args:
            *args, **kwargs: as of the real search. Validation data, epochs and a NanWatch
                among the callbacks are accepted and not used.
        """
        data, kwargs = by_name(args, kwargs)
        callbacks = list(kwargs.pop("callbacks", None) or ())
        for callback in callbacks:
            if isinstance(callback, NanWatch) and self._log_dir is None:
                self._log_dir = callback.given_log_dir
        kwargs["callbacks"] = [c for c in callbacks if not isinstance(c, NanWatch)]
        super().search(*data, **kwargs)
        if not is_shared(self):
            self._log_frontier()

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains one set of values for a few steps.

        Returns:
            The oracle's metrics.

        Raises:
            UnsupportedError: the model's `fit` was not given the callbacks.
        """
        began = time.monotonic()
        model = built(self, trial.hyperparameters)
        fit = functools.partial(self.hypermodel.fit, trial.hyperparameters, model)
        outcome = train(fit, self.log_dir, self.steps, args, kwargs)
        return metrics(outcome.bad, outcome.steps, began)

    @property
    def log_dir(self) -> str:
        """Where NaN Watch logs."""
        return self._log_dir or os.path.join(str(self.project_dir), "nanwatch")

    # --- Results --------------------------------------------------------------------

    def frontier(self) -> KnownFrontier:
        """Returns the frontier as it is known by now.

        Raises:
            ValueError: no trial has ended yet.
            UnsupportedError: this is a worker of a distributed search.
        """
        if is_shared(self):
            raise UnsupportedError(
                "a worker of a distributed search does not know the other workers' "
                "trials. Ask in the chief's program, after its search(), or make the "
                "tuner again with the same directory and project_name and without "
                "KERASTUNER_TUNER_ID."
            )
        found = self.oracle.frontier()
        if found is None:
            raise ValueError(
                "no trial has ended yet, so no frontier is known; call search() first."
            )
        return found  # type: ignore[no-any-return]

    def _stable(self, frontier: KnownFrontier) -> StableSpace:
        return stable_space_of(self.oracle.coordinates(), frontier)

    def stable_space(self) -> Any:
        """Returns the space that lives: a `keras_tuner.HyperParameters`.

        It is for `hyperparameters=` of the real tuner, whose model is built as before:
        the bounds in it win over those in the code.

        Raises:
            ValueError: no part of it is known to live, or as of `frontier`.
            UnsupportedError: as of `frontier`.
        """
        frontier = self.frontier()
        stable = self._stable(frontier)
        if stable.form == "nothing":
            raise ValueError(
                f"there is no space to return. {told.nothing_text(frontier)}"
            )
        return log.hyperparameters_of(stable.specs)

    def stable_code(self) -> str:
        """Returns code that declares the space that lives, in place of the old one's.

        It says more than `stable_space` can: a bound may depend on another value.

        Raises:
            ValueError, UnsupportedError: as of `frontier`.
        """
        return self._stable(self.frontier()).code

    def report(self) -> str:
        """Prints the frontier, what is unsure, and the code; returns what it prints.

        Raises:
            ValueError, UnsupportedError: as of `frontier`.
        """
        frontier = self.frontier()  # first: it says what a worker cannot do
        stable = self._stable(frontier)
        steps, seconds = self.oracle.spent()
        text = told.report(
            frontier, stable, self.steps, steps, seconds,
            len(self.oracle.trials), self.oracle.max_trials,
        )  # fmt: skip
        print(text)
        return text

    def _log_frontier(self) -> None:
        """Logs the frontier beside the trials; a place that cannot be written only warns."""
        with contextlib.suppress(ValueError):
            frontier = self.frontier()
            try:
                log.write(self, frontier, self._stable(frontier))
            except Exception as e:
                warn(f"NaN Watch could not log the frontier: {of_error(e)}")


__all__: Sequence[str] = ("StabilitySearch",)
