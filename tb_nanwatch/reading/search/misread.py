# SPDX-License-Identifier: Apache-2.0
"""Finds where the tuner took a bad run's score for a valid one; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tb_nanwatch.record.schema import BAD_STATUSES, Kind, Misread, StatusRecord
from tb_nanwatch.wording import outcomes_text as words

if TYPE_CHECKING:
    from tb_nanwatch.reading.log.session import Session

_DAMAGED: Final = {"weight": "weights", "layer_state": "layer state"}


def misread(session: Session) -> Misread | None:
    """Returns how the tuner misread the run, or None.

    "infinite_score": the trial was completed with an infinite score.
    "stale_score": the run went bad, yet the trial was completed with a finite score,
    of an epoch before the first bad one.
    "damaged_score": the trial was completed with a finite score of an epoch at whose
    end the model's weights or a layer's state were non-finite. A layer can hide that:
    ReLU makes 0 of NaN, and an accuracy is finite whatever is predicted.

    A later score of a run whose model stayed finite, or was finite again, is a result. So
    is any score of one that stalled: the model is as it was before.
    """
    trial, status = session.trial, session.status
    if status.search is not None and status.search.purpose == "stability":
        return None  # whether it went bad is its score
    if session.goes_on:
        return None  # the score is that of a training that came after it
    score = session.score
    if score is None or (trial is not None and trial.tuner_status != "COMPLETED"):
        return None
    if trial is None and session.state not in ("finished", "stopped"):
        return None  # the exception has told whoever trained it
    if math.isinf(score):
        # Without a tuner no program took the score for a result.
        return "infinite_score" if trial is not None else None
    epoch = scored_epoch(session)
    if (
        status.status not in BAD_STATUSES
        or status.status == "stalled"
        or not math.isfinite(score)
        or epoch is None
        or status.onset is None
    ):
        return None
    if epoch < status.onset.epoch:
        return "stale_score"
    return "damaged_score" if _damage_kinds(status, epoch) is not None else None


def _damage_kinds(status: StatusRecord, epoch: int) -> list[Kind] | None:
    """Returns which kinds of model values were non-finite at the end of a run's epoch.

    Of MODEL_KINDS; empty where a log does not tell what it was, None for nothing.
    """
    if status.damage is None:  # a log from before this was written
        damaged = status.status == "diverged" and not status.recovered
        return [] if damaged else None
    for damage in status.damage:
        if damage.first <= epoch and (damage.end is None or epoch < damage.end):
            return damage.kinds
    return None


def scored_epoch(session: Session) -> int | None:
    """Returns the epoch that the score is from, counted as the onset's epoch is.

    KerasTuner counts from the first epoch of a training, Keras from 0: they differ
    where Hyperband goes on with an earlier trial.
    """
    trial, lineage = session.trial, session.status.lineage
    if trial is None:
        return session.best_epoch  # by Keras' count
    best = trial.best_step if trial.own_best_epoch is None else trial.own_best_epoch
    initial = (lineage.initial_epoch if lineage else None) or 0
    return None if best is None else best + initial


def misread_text(session: Session) -> str | None:
    """Returns the misreading as a sentence or two, None where there is none."""
    kind, score, status = misread(session), session.score, session.status
    if kind is None or score is None:
        return None
    search = status.search
    by_hand = status.score if session.trial is None else None
    scored = words.scored_text(score, by_hand.name if by_hand is not None else None)
    if kind == "damaged_score":
        epoch = scored_epoch(session)
        assert epoch is not None
        kinds = _damage_kinds(status, epoch) or []
        what = " and ".join(_DAMAGED[k] for k in kinds if k in _DAMAGED)
        return words.damaged_text(scored, epoch, what)
    if kind == "stale_score":
        epoch = scored_epoch(session)
        assert epoch is not None and status.onset is not None
        return words.stale_text(scored, epoch, status.onset.epoch)
    bayesian = search is not None and search.oracle == "BayesianOptimizationOracle"
    return words.infinite_text(
        score, bayesian, search is not None and search.direction == "min"
    )
