# SPDX-License-Identifier: Apache-2.0
"""A step that a backend kept, so that it can be run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tb_nanwatch.postmortem.capsule import SavedVariable, Sum
from tb_nanwatch.record.schema import Phase

# Among `missing`.
UPDATED: Final = "the weights are those from after the step's update"
MANY_UPDATES: Final = "another optimizer had updated its weights before"
MADE_LATE: Final = "variables that the first step made were not kept"


@dataclass
class Kept:
    """A step, as it can be run again.

    Attributes:
        phase, step: of which step, counted from 0 in its phase.
        replica: that saw the fault.
        data: as `train_step` received it, leaves are arrays; None where not kept.
        variables: values from before the update, in the order in which model and
            optimizer list them.
        missing: why it is not the whole step, in words; empty where it is.
        sums: of the step's tensors.
    """

    phase: Phase
    step: int
    replica: int
    data: Any
    variables: list[SavedVariable]
    missing: list[str] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)


class Keeper(Protocol):
    """What keeps the step at which a run goes bad.

    Attributes:
        too_large: whether a step was larger than what may be kept.
    """

    too_large: bool

    def take(self, last: bool = True) -> Kept | None:
        """Returns the step at which the run went bad, or stalled; None if not kept.

        Args:
            last: keeps no more from then on.
        """
