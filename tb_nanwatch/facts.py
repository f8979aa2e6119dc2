"""What was measured in one run, as the diagnosis takes it in."""

from __future__ import annotations

from dataclasses import dataclass, field

from tb_nanwatch.schema import (
    BadTensor,
    FlightRecord,
    HParam,
    Position,
    RangesRecord,
    SessionRecord,
    Status,
    StatusRecord,
)


@dataclass
class Facts:
    """What was measured in one run; everything but `status` may be missing.

    Attributes:
        status: how far non-finite values reached.
        onset, origin: the first bad step and tensor; None when clean.
        steps: training steps of the run.
        hparams: the run's hyperparameters.
        closest: for each float dtype the largest |value| over the dtype's largest
            finite number.
        session, ranges, flight: the records in full, where they were read.
    """

    status: Status
    onset: Position | None = None
    origin: BadTensor | None = None
    steps: int = 0
    hparams: list[HParam] = field(default_factory=list)
    closest: dict[str, float] = field(default_factory=dict)
    session: SessionRecord | None = None
    ranges: list[RangesRecord] = field(default_factory=list)
    flight: list[FlightRecord] = field(default_factory=list)


def facts_of(status: StatusRecord) -> Facts:
    """Returns the facts that a run's status record alone holds."""
    return Facts(
        status=status.status,
        onset=status.onset,
        origin=status.origin,
        steps=status.steps,
        hparams=status.hparams,
        closest=status.closest,
    )
