# SPDX-License-Identifier: Apache-2.0
"""The result of a stability search, and how later searches fared with it; pure."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.reading.contract.searches import (
    FirstScreen,
    Frontier,
    SearchSummary,
    ToldBoundary,
)
from tb_nanwatch.reading.log.grouping import trials_of, worst
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import BAD_STATUSES, FrontierRecord, HParam
from tb_nanwatch.wording import stability_text as words


def entry(record: FrontierRecord | None) -> Frontier | None:
    """Returns the frontier in the form that is sent; None where none was logged."""
    if record is None:
        return None
    return Frontier(
        [ToldBoundary(**vars(b), text=words.boundary_text(b)) for b in record.boundaries],
        record.code,
        record.kept,
        record.trials,
        record.bad,
        record.steps,
        record.spent_steps,
        record.seconds,
    )


def is_inside(space: Sequence[HParam], session: Session) -> bool:
    """Returns whether a run's values are in a space.

    A value that the space does not know, or that the run has not, keeps none out.
    """
    by_name: dict[str, list[HParam]] = {}
    for spec in space:
        by_name.setdefault(spec.name, []).append(spec)
    return all(
        h.name not in by_name
        or not h.active
        or any(_holds(s, h) for s in by_name[h.name])
        for h in session.status.hparams
    )


def _holds(spec: HParam, hparam: HParam) -> bool:
    value = hparam.value
    if spec.type in ("int", "float"):
        bounds = spec.min, spec.max
        if not all(isinstance(v, int | float) for v in (value, *bounds)):
            return True
        # Bounds have few digits, and so may what a user copied of them.
        low, high = (float(b) for b in bounds)  # type: ignore[arg-type]
        near = 1e-6 * max(abs(low), abs(high))
        return low - near <= float(value) <= high + near  # type: ignore[arg-type]
    listed = spec.values or []
    if spec.type == "fixed":
        listed = [spec.value if spec.value is not None else spec.default]
    return not listed or value in listed


def first_screen(search: SearchSummary, notes: Sequence[str]) -> FirstScreen:
    """Returns the first screen of a stability search."""
    found = search.frontier
    boundaries = [b.text for b in found.boundaries] if found else []
    return FirstScreen(
        search.counted,
        " ".join(boundaries) or words.NO_FRONTIER,
        fix=words.search_in_text(found.code) if found else "",
        tested=words.up_to_text(found.steps) if found else "",
        notes=list(notes),
    )


def afterwards(record: FrontierRecord, sessions: Sequence[Session]) -> str:
    """Returns how a later search fared in the stable space; "" where it has no trial in it.

    Args:
        record: of the stability search.
        sessions: of the later search.
    """
    known = {s.name for s in record.space}
    if not any(h.name in known for s in sessions for h in s.status.hparams):
        return ""
    groups = [
        g
        for g in trials_of(list(sessions)).values()
        if all(is_inside(record.space, s) for s in g)
    ]
    if not groups:
        return ""
    bad = [g for g in groups if worst(g) in BAD_STATUSES]
    onsets = [
        s.status.onset.step
        for g in bad
        for s in g
        if s.status.onset is not None and s.status.status in BAD_STATUSES
    ]
    seconds = sum(max(0.0, s.status.updated - s.status.started) for s in sessions)
    return words.afterwards_text(
        len(bad), len(groups), onsets, record.steps, (record.seconds, seconds)
    )
