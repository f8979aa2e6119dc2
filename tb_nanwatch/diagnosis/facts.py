# SPDX-License-Identifier: Apache-2.0
"""The measurements of one run that the diagnosis starts from."""

from __future__ import annotations

from dataclasses import dataclass, field

from tb_nanwatch.record.schema import (
    BadTensor,
    FlightRecord,
    HParam,
    Position,
    PostMortem,
    RangesRecord,
    SessionRecord,
    Status,
    StatusRecord,
)


@dataclass
class Scaling:
    """How the loss scale of mixed precision ended: its value, and the steps that it skipped.

    Attributes:
        skipped: steps that the optimizer skipped.
        lost: steps whose gradients were all zero, see `schema.StatusRecord`.
        scale: after the last step.
        last_update: the last step that was not skipped, None where there was none.
    """

    skipped: int
    lost: int
    scale: float
    last_update: int | None


@dataclass
class Facts:
    """The measurements of one run; everything but `status` may be missing.

    Attributes:
        status: how far non-finite values reached.
        onset, origin: the first bad step and tensor; None when clean.
        steps: training steps of the run.
        hparams: the run's hyperparameters.
        closest: for each float dtype the largest |value| over the dtype's largest
            finite number.
        inherited: the status of the training whose weights this one began with,
            "unwatched" where it is not known; None for a model's first training.
        postmortem: of the failing step, where there was one.
        session, ranges, flight: the records in full, where they were read.
        scaling: of the loss; None where none is scaled.
        with_data: whether sentences may quote values of single rows of data.
    """

    status: Status
    onset: Position | None = None
    origin: BadTensor | None = None
    steps: int = 0
    hparams: list[HParam] = field(default_factory=list)
    closest: dict[str, float] = field(default_factory=dict)
    inherited: Status | None = None
    postmortem: PostMortem | None = None
    session: SessionRecord | None = None
    ranges: list[RangesRecord] = field(default_factory=list)
    flight: list[FlightRecord] = field(default_factory=list)
    scaling: Scaling | None = None
    with_data: bool = True


def facts_of(
    status: StatusRecord,
    inherited: Status | None = None,
    postmortem: PostMortem | None = None,
    with_data: bool = True,
) -> Facts:
    """Returns the facts that a run's status record alone holds.

    Args:
        status: the run's.
        inherited: see `Facts`; it takes the records of other runs to tell.
        postmortem: the result of its record, where there is one.
        with_data: see `Facts`.
    """
    return Facts(
        status=status.status,
        onset=status.onset,
        origin=status.origin,
        steps=status.steps,
        hparams=status.hparams,
        closest=status.closest,
        inherited=inherited,
        postmortem=postmortem,
        scaling=Scaling(
            int(status.lane_skipped.sum()),
            status.lost_updates,
            float(status.lane_loss_scale[-1]),
            status.last_update,
        )
        if len(status.lane_loss_scale)
        else None,
        with_data=with_data,
    )
