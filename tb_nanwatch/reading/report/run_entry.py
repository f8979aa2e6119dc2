# SPDX-License-Identifier: Apache-2.0
"""One run of the overview; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.diagnosis.answer import answer_of, clean_text
from tb_nanwatch.diagnosis.closest import closest_call
from tb_nanwatch.diagnosis.ranking import Cause, closest_text, diagnose, facts_of
from tb_nanwatch.reading.contract.runs import (
    NamedCause,
    Origin,
    Records,
    RunSummary,
    ToldCall,
    ToldScalar,
)
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.report import reproduction
from tb_nanwatch.reading.report.search_entry import is_bookkeeping
from tb_nanwatch.reading.search.failures import (
    failure,
    failure_text,
    unwatched_text,
)
from tb_nanwatch.reading.search.misread import misread, misread_text
from tb_nanwatch.reading.search.search_answer import name_of
from tb_nanwatch.record import schema
from tb_nanwatch.wording.answer_text import label_of
from tb_nanwatch.wording.outcomes_text import bad_scalar_text
from tb_nanwatch.wording.row_values import without_values
from tb_nanwatch.wording.trial_names import inherited_text, lineage_text

# Fields that a run's status has under the same name.
_AS_WRITTEN: Final = (
    *("trial_id", "number", "execution", "fit", "worker", "stopped_by", "status"),
    *("onset", "contained", "started", "updated", "steps", "epochs", "epochs_planned"),
    *("steps_after_onset", "seconds_after_onset", "recovered", "closest", "lineage"),
    *("error_type", "error_message"),
)


def run_entry(
    session: Session, causes: Sequence[Cause] | None = None, with_data: bool = True
) -> RunSummary:
    """Returns one run of the overview.

    Args:
        session: the run's.
        causes: from its full records; those of the status record alone where None.
        with_data: whether values of single rows of data are told.
    """
    facts = facts_of(session.status, session.began_with, session.postmortem, with_data)
    if causes is None:
        causes = diagnose(facts)
    status, trial = session.status, session.trial
    found = session.postmortem
    hparams = [h for h in status.hparams if not is_bookkeeping(h.name, session)]
    scaled = len(status.lane_loss_scale) > 0
    return RunSummary(
        **{name: getattr(status, name) for name in _AS_WRITTEN},
        run=session.run,
        name=name_of(session),
        session=session.id,
        search=session.search_id,
        retry=session.retry,
        superseded=session.superseded,
        state=session.state,
        tuner_status=trial.tuner_status if trial else None,
        score=session.score if _is_scored(session) else None,
        best_step=session.best_epoch,
        message=trial.message if trial else None,
        failure=failure(session),
        failure_text=failure_text(session),
        unwatched_text=unwatched_text(session),
        misread=misread(session),
        misread_text=misread_text(session),
        hparams={h.name: h.value for h in hparams if h.active},
        inactive=[h.name for h in hparams if not h.active],
        origin=_origin(status.origin, found),
        postmortem=found if with_data else without_values(found),
        reproduction=reproduction.script(session),
        causes=[_cause(cause, found) for cause in causes],
        answer=answer_of(facts, causes, status.steps_after_onset),
        clean_text=clean_text(facts),
        closest_call=_closest_call(session),
        loss_scale=float(status.lane_loss_scale[-1]) if scaled else None,
        skipped_steps=int(status.lane_skipped.sum()) if scaled else None,
        lineage_text=_lineage_text(status.lineage),
        inherited=session.inherited,
        inherited_text=inherited_text(
            session.inherited,
            status.lineage.trial_id if status.lineage and not status.fit else None,
        ),
        scalars=[
            ToldScalar(**vars(s), text=bad_scalar_text(**vars(s)))
            for s in session.scalars
        ],
        damage=session.damage,
        records=Records(session.read, session.written),
    )


def _lineage_text(lineage: schema.Lineage | None) -> str:
    if lineage is None:
        return ""
    return lineage_text(lineage.bracket, lineage.round, lineage.trial_id)


def _cause(cause: Cause, found: schema.PostMortem | None) -> NamedCause:
    return NamedCause(
        cause.id,
        cause.sure,
        cause.record,
        cause.confidence,
        cause.evidence,
        cause.fix,
        label_of(cause.id, found),
    )


def _is_scored(session: Session) -> bool:
    # A stability search's objective is whether a trial went bad.
    search = session.search
    return search is None or search.purpose != "stability"


def _origin(
    origin: schema.BadTensor | None, found: schema.PostMortem | None
) -> Origin | None:
    if origin is None:
        return None
    # The operation and its line come with the post-mortem; null where it was not made.
    op, source = (found.op, found.source) if found is not None else (None, None)
    return Origin(
        **vars(origin),
        op=f"gradient of {op}" if op and found and found.gradient else op,
        source=f"{source.file}:{source.line}" if source is not None else None,
    )


def _closest_call(session: Session) -> ToldCall | None:
    """Returns the closest call of a run that stayed finite, None where nothing came near."""
    status = session.status
    if status.status != "clean":
        return None
    call = closest_call(status.closest, status.closest_in)
    if call is None:
        return None
    return ToldCall(**vars(call), text=closest_text(call))
