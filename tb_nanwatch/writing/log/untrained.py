# SPDX-License-Identifier: Apache-2.0
"""Logs a run for a trial without any watched training, and why it was not watched."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.record import schema
from tb_nanwatch.record.strict_json import text_of
from tb_nanwatch.wording import messages
from tb_nanwatch.writing.log.summary import EventWriter, search_writer
from tb_nanwatch.writing.search.tuner import Trial, when_settled
from tb_nanwatch.writing.search.verdict import Verdict

_MAX_MESSAGE = 2000


# Keras' hooks were not called at all.
DROPPED: Final = (
    "no model.fit was given the callbacks of the search. HyperModel.fit, or the tuner's "
    "own run_trial, must pass them on: model.fit(..., callbacks=callbacks), or "
    "model.fit(..., **kwargs)"
)
OWN_LOOP: Final = (
    "the callback was given a model, but no model.fit called it. A loop of the program's "
    "own is not watched; model.fit(..., callbacks=callbacks) is"
)


@dataclass
class UntrainedFate:
    """Why a trial is not watched, as far as known; shared with the callback."""

    why: str = DROPPED


def write(
    run_dir: str, run: str, trial: Trial, verdict: Verdict, began: float, why: str
) -> None:
    """Writes the known facts about the trial: its values, and why it failed.

    Args:
        run_dir: directory of the run's event file.
        run: the run's name.
        trial: the trial, with the values that it had by its end.
        verdict: the tuner's.
        began: when the trial began, seconds since the epoch.
        why: the reason why nothing was watched, a sentence without a full stop.
    """
    session_id = uuid.uuid4().hex[:16]
    kind, text = messages.split(verdict.message or "")
    if verdict.error is not None:
        kind, text = type(verdict.error).__name__, text_of(verdict.error)
    failed = verdict.status != "COMPLETED"
    writer = EventWriter(run_dir)
    status = schema.StatusRecord(
        session_id,
        0,
        run=run,
        search=trial.search,
        trial_id=trial.trial_id,
        number=trial.number,
        execution=trial.execution,
        attempt=trial.attempt,
        worker=trial.worker,
        lineage=trial.lineage,
        hparams=trial.hparams,
        state="failed" if failed else "finished",
        error_type=kind or None,
        error_message=messages.without_noise(text)[:_MAX_MESSAGE] or None,
        started=began,
        updated=time.time(),
        status="unwatched",
        why_unwatched="" if kind or text else why,
    )
    writer.write(
        status,
        schema.TrialRecord(
            session_id,
            0,
            search_id=trial.search.id,
            trial_id=trial.trial_id,
            tuner_status=verdict.status,
            score=verdict.score,
            best_step=verdict.best_step,
            message=verdict.message,
            aborted=verdict.aborted,
        ),
    )
    writer.close()
    when_settled(trial, search_writer(status, run_dir))
