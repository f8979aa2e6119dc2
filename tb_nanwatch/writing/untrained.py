"""The run of a trial that ended before any training: its model could not be built."""

from __future__ import annotations

import time
import uuid

from tb_nanwatch import messages, schema
from tb_nanwatch.writing import rename
from tb_nanwatch.writing.summary import EventWriter
from tb_nanwatch.writing.tuner import Trial, when_settled
from tb_nanwatch.writing.verdict import Verdict

_MAX_MESSAGE = 2000


def write(run_dir: str, run: str, trial: Trial, verdict: Verdict, began: float) -> None:
    """Writes what is known of the trial: its values, and why it failed.

    Args:
        run_dir: directory of the run's event file.
        run: the run's name.
        trial: the trial, with the values that it had by its end.
        verdict: the tuner's.
        began: when the trial began, seconds since the epoch.
    """
    session_id = uuid.uuid4().hex[:16]
    kind, text = messages.split(verdict.message or "")
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
    when_settled(trial, rename.search_of(status, run_dir))
