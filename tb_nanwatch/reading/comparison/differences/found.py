# SPDX-License-Identifier: Apache-2.0
"""The input and the result of a comparison of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.contract.comparisons import Difference, Parting
from tb_nanwatch.record.schema import (
    BAD_STATUSES,
    RangesRecord,
    SessionRecord,
    StatusRecord,
)

TOPICS: Final = (
    "hparam",
    "optimizer",
    "loss",
    "model",
    "data",
    "precision",
    "setup",
    "initial",
)
# Half a decade, as in `rules`: batches and initial weights vary by less.
TOLERANCE: Final = 0.5


@dataclass(frozen=True)
class ComparedRun:
    """One run, as far as it is compared.

    Attributes:
        name: what it is called in sentences.
        status: its status record.
        session: what was trained; None where it was not recorded.
        ranges: all of its records of ranges.
        causes: why it went bad, the likeliest first.
    """

    name: str
    status: StatusRecord
    session: SessionRecord | None = None
    ranges: Sequence[RangesRecord] = ()
    causes: Sequence[Cause] = ()

    @property
    def bad(self) -> bool:
        """Returns whether it went bad."""
        return self.status.status in BAD_STATUSES


@dataclass(frozen=True)
class Differences:
    """The differences between two runs.

    Attributes:
        differences: by topic, the order of `TOPICS`.
        parting: None where they never part, or it was not recorded.
        alike: topics that were compared and do not differ.
        notes: what could not be compared, a sentence each.
        verdict: the answer in a few sentences.
    """

    differences: list[Difference] = field(default_factory=list)
    parting: Parting | None = None
    alike: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdict: str = ""
