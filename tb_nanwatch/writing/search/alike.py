# SPDX-License-Identifier: Apache-2.0
"""Shares experiments between runs of a search that went bad in the same way.

The seconds for experiments are those of the whole search. So the experiment that
confirmed the cause of one run is tried first on another that went bad in the same way, or
whose record points at the same cause. If it has the same result there, no other is made.
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
    """The way in which a run went bad; runs with equal ways are alike.

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
    """Returns the way in which a run went bad.

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
        """The result of the experiments, in words."""
        helped = [e.text for e in self.experiments[1:] if e.succeeded]
        if self.confirming is not None:
            helped = [self.confirming.text]
        if helped:
            return f"stayed finite with {', or '.join(helped[:_MOST_NAMED])}"
        tried = sum(e.tried for e in self.experiments[1:])
        return f"was helped by none of {tried} changes that were tried"


@dataclass
class Alike:
    """The experiments on the runs of a search, by the way in which the runs went bad."""

    tested: dict[Way, Tried] = field(default_factory=dict)

    def first(self, way: Way) -> Sequence[Experiment]:
        """Returns the experiments to make first on a run that went bad in this way.

        None where they confirmed no cause: nothing is settled then.
        """
        known = self._known(way)
        return known.settling if known is not None else ()

    def _known(self, way: Way) -> Tried | None:
        """Returns the experiments on a run that went bad in this way, or for the same likely cause."""
        exact = self.tested.get(way)
        if exact is not None and exact.confirming is not None:
            return exact
        for other, tried in self.tested.items():
            same = (other.status, other.cause) == (way.status, way.cause)
            if same and way.cause != "unknown" and tried.confirming is not None:
                return tried
        return exact

    def note(self, way: Way, tested: Tried) -> None:
        """Keeps the experiments on a run; of several runs, those that confirmed the cause.

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
        """Returns why no experiment was made on a run, "" where lack of time was not the reason.

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
