# SPDX-License-Identifier: Apache-2.0
"""Runs of a search that went bad alike: what was tried on one is told to the others.

The seconds for experiments are those of the whole search. So what confirmed the cause of
one run is tried first on another that went bad alike, or whose record points at the same
cause, and where it comes out there as it did before, nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tb_nanwatch.record.schema import BadTensor, Experiment, PostMortem

SPENT: Final = "the time for experiments is spent"
# As `postmortem.experiments` notes it.
_NO_TIME: Final = "no time was left"
# How many changes are named.
_MOST_NAMED: Final = 3


class Way(NamedTuple):
    """In what way a run went bad; those of the same are alike.

    Attributes:
        status: of the run.
        cause: that the record alone points at.
        kind, name: of the first bad tensor, numbers in the name left out.
        op: the operation that made it, "" where none is named.
    """

    status: str
    cause: str
    kind: str
    name: str
    op: str


def way_of(status: str, cause: str, origin: BadTensor | None, found: PostMortem) -> Way:
    """Returns in what way a run went bad.

    Args:
        status, origin: of the run.
        cause: that its record points at, without experiments.
        found: its post-mortem.
    """
    name = re.sub(r"\d+", "#", origin.name) if origin is not None else ""
    op = found.op_type or ""
    return Way(status, cause, origin.kind if origin is not None else "", name, op)


@dataclass
class Tried:
    """The experiments on one run, and which of them succeeded.

    Attributes:
        trial: name of the run's trial.
        experiments: the control first.
        confirming: the one that confirmed the run's cause, None where none did.
    """

    trial: str
    experiments: list[Experiment]
    confirming: Experiment | None = None

    @property
    def settling(self) -> list[Experiment]:
        """The experiments to make on a run that went bad alike, in order.

        Scaling both, inputs and labels, says something only where each alone was tried.
        """
        if self.confirming is None:
            return []
        both = self.confirming.change == "inputs_and_labels"
        alone = ("inputs", "labels") if both else ()
        return [*(e for e in self.experiments if e.change in alone), self.confirming]

    @property
    def said(self) -> str:
        """What came out, in words."""
        helped = [e.text for e in self.experiments[1:] if e.succeeded]
        if self.confirming is not None:
            helped = [self.confirming.text]
        if helped:
            return f"stayed finite with {', or '.join(helped[:_MOST_NAMED])}"
        tried = sum(e.tried for e in self.experiments[1:])
        return f"was helped by none of {tried} changes that were tried"


@dataclass
class Alike:
    """What was tried on the runs of a search, by the way in which they went bad."""

    tested: dict[Way, Tried] = field(default_factory=dict)

    def first(self, way: Way) -> Sequence[Experiment]:
        """Returns the experiments that are to be made first on such a run.

        None where they confirmed no cause: nothing is settled then.
        """
        known = self._known(way)
        return known.settling if known is not None else ()

    def _known(self, way: Way) -> Tried | None:
        """Returns what was tried on a run that went bad so, or has the same likely cause."""
        exact = self.tested.get(way)
        if exact is not None and exact.confirming is not None:
            return exact
        for other, tried in self.tested.items():
            same = (other.status, other.cause) == (way.status, way.cause)
            if same and way.cause != "unknown" and tried.confirming is not None:
                return tried
        return exact

    def note(self, way: Way, tested: Tried) -> None:
        """Keeps what experiments on a run came to; of several, what confirmed its cause.

        Args:
            way: in which the run went bad.
            tested: what was tried on it.
        """
        known = self.tested.get(way)
        if any(e.tried for e in tested.experiments[1:]) and (
            known is None or (tested.confirming is not None and known.confirming is None)
        ):
            self.tested[way] = tested

    def why_not(self, way: Way, found: PostMortem) -> str:
        """Returns why nothing was tried on a run, "" where it was not for time.

        Args:
            way: in which it went bad.
            found: its post-mortem, experiments included.
        """
        control = found.experiments[0] if found.experiments else None
        if control is not None and (control.tried or control.note != _NO_TIME):
            return ""
        known = self._known(way)
        if known is None:
            return SPENT
        alike = known is self.tested.get(way)
        which = "which went bad alike" if alike else "which has the same likely cause"
        return f"{SPENT}; {known.trial}, {which}, {known.said}"
