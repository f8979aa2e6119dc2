# SPDX-License-Identifier: Apache-2.0
"""Names the attempt at a trial that each run is, in the same words everywhere; pure."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.reading.contract.runs import RunSummary


def attempts(runs: Sequence[RunSummary]) -> list[str]:
    """Returns "exec 2/2 fit 1/2 retry 1" of each run; "" where there is but one.

    Args:
        runs: of one search or several.
    """
    executions: dict[object, set[int]] = {}
    fits: dict[object, int] = {}
    for run in runs:
        executions.setdefault(_trial(run), set()).add(run.execution)
        fits[_execution(run)] = max(fits.get(_execution(run), 0), run.fit + 1)
    return [
        _text(run, len(executions[_trial(run)]), fits[_execution(run)]) for run in runs
    ]


def _trial(run: RunSummary) -> tuple[str, str]:
    return run.search, run.run if run.trial_id is None else run.trial_id


def _execution(run: RunSummary) -> tuple[str, str, int]:
    return *_trial(run), run.execution


def _text(run: RunSummary, executions: int, fits: int) -> str:
    parts = []
    if executions > 1:
        parts.append(f"exec {run.execution + 1}/{executions}")
    if fits > 1:
        parts.append(f"fit {run.fit + 1}/{fits}")
    if run.retry:
        parts.append(f"retry {run.retry}")
    return " ".join(parts)
