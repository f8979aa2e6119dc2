# SPDX-License-Identifier: Apache-2.0
"""The overview: what the tab and the page show, and `tb-nanwatch report` prints; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report.run_entry import run_entry
from tb_nanwatch.reading.report.search_entry import CausesByRun, search_entry


def overview(
    snapshot: Snapshot, causes: CausesByRun | None = None, with_data: bool = True
) -> Overview:
    """Returns the overview of a log directory, without the runs' lanes.

    Searches come newest first, runs without a search last; within a search, runs
    come in the order in which they started.

    Args:
        snapshot: all sessions.
        causes: of the runs that went bad, by (run, session id), where their records
            were read in full; what the status records alone say where they were not.
        with_data: whether values of single rows of data are told; `causes` must be made
            accordingly.
    """
    known = causes or {}
    by_search: dict[str, list[Session]] = {}
    for session in snapshot.sessions:
        by_search.setdefault(session.search_id, []).append(session)
    told = [
        search_entry(key, group, known, snapshot, with_data)
        for key, group in by_search.items()
    ]
    told.sort(key=lambda s: (s[0].search != "", s[0].started), reverse=True)
    runs = [
        run_entry(session, known.get((session.run, session.id)), with_data)
        for search, _ in told
        for session in by_search[search.search]
    ]
    return Overview(
        searches=[search for search, _ in told],
        runs=[replace(r, attempt=a) for r, a in zip(runs, attempts(runs), strict=True)],
        findings=[finding for _, findings in told for finding in findings],
        warnings=snapshot.warnings,
        with_data=with_data,
    )


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
