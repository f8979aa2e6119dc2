# SPDX-License-Identifier: Apache-2.0
"""The sessions of one search as trials, compared: from records to `analysis`.

Executions of a trial are one trial, and so is what Hyperband goes on with under a
new id. A trial that still runs is counted once it has gone bad: that stays true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.log.grouping import trials_of
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.search.analysis import Analysis, analyse
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import BAD_STATUSES, STATUSES
from tb_nanwatch.wording.places import made_by

# Searches whose last analysis is kept: while a search trains, its overview is asked
# for every few seconds, and its trials seldom differ from those of the last time.
_MAX_KEPT = 64
_kept: dict[str, tuple[str, Analysis]] = {}


def compare(
    search_id: str,
    sessions: Sequence[Session],
    direction: str | None,
    causes: Mapping[tuple[str, str], Sequence[Cause]],
) -> Analysis:
    """Returns the result of comparing the trials of one search.

    Args:
        search_id: the search's.
        sessions: all of its sessions.
        direction: "min" or "max", of the objective.
        causes: of the runs that went bad, by (run, session id).
    """
    trials = trials_to_compare(sessions, causes)
    fingerprint = repr((trials, direction))
    kept = _kept.get(search_id)
    if kept is not None and kept[0] == fingerprint:
        return kept[1]
    analysis = analyse(search_id, trials, direction)
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[search_id] = (fingerprint, analysis)
    return analysis


def trials_to_compare(
    sessions: Sequence[Session], causes: Mapping[tuple[str, str], Sequence[Cause]]
) -> list[ComparedTrial]:
    """Returns each trial whose fate is known, once, in order of its start.

    Args:
        sessions: of one search.
        causes: of the runs that went bad, by (run, session id).
    """
    families: dict[str, list[Session]] = {}
    groups = trials_of(list(sessions))
    parents = {
        key[1]: group[0].status.lineage.trial_id
        for key, group in groups.items()
        if group[0].status.lineage and group[0].status.lineage.trial_id
    }
    known = {key[1] for key in groups}
    for (_, trial_id), group in groups.items():
        families.setdefault(_root(trial_id, parents, known), []).extend(group)
    return [t for t in (_trial(group, causes) for group in families.values()) if t]


def _root(trial_id: str, parents: Mapping[str, str | None], known: set[str]) -> str:
    seen = {trial_id}
    while True:
        parent = parents.get(trial_id)
        if parent is None or parent in seen or parent not in known:
            return trial_id
        seen.add(parent)
        trial_id = parent


def _trial(
    sessions: Sequence[Session], causes: Mapping[tuple[str, str], Sequence[Cause]]
) -> ComparedTrial | None:
    watched = [s for s in sessions if s.status.status != "unwatched"]
    if not watched:
        return None
    worst = max(watched, key=lambda s: STATUSES.index(s.status.status))
    bad = worst.status.status in BAD_STATUSES
    if not bad and any(s.state in ("running", "interrupted") for s in watched):
        return None  # its outcome is unknown: it never finished
    scores = [s.score for s in watched if s.score is not None]
    # What went on with bad weights says no more than that: the cause is where they
    # went bad.
    first = [s for s in watched if s.status.status in BAD_STATUSES and not s.inherited]
    if first:
        worst = max(first, key=lambda s: STATUSES.index(s.status.status))
    origin = worst.status.origin
    found = causes.get((worst.run, worst.id), ()) if bad else ()
    return ComparedTrial(
        watched[0].status.hparams,
        bad,
        scores[-1] if scores else None,
        (origin.kind, origin.name) if origin is not None and bad else None,
        found[0].id if found else None,
        found[0].about if found else None,
        made_by(worst.postmortem) if bad else None,
        found[0].fix if found else "",
        found[0].sure if found else "",
        found[0].failed if found else None,
    )
