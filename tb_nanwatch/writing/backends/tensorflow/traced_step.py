# SPDX-License-Identifier: Apache-2.0
"""What the parts of one traced step share: what it has met so far, and the sums of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import tensorflow as tf

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.tensorflow.capture import Batch
from tb_nanwatch.writing.backends.tensorflow.ops import half_sum_of_squares
from tb_nanwatch.writing.backends.tensorflow.proofs import (
    GUARD_LIMIT,
    PROOF_LIMIT,
    Proofs,
    half_sum_by_moments,
    prove,
)
from tb_nanwatch.writing.backends.tensorflow.recompute import make_again
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tensorflow.sampling import is_sampled
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import NOT_SUMMED

# What is read from variables once the update is over.
VARIABLES: Final = ("optimizer", "weight", "layer_state")


@dataclass
class Step:
    """What the parts of one traced step share.

    Attributes:
        phase: of the step.
        number: int64 tensor, the step's number in its phase.
        limit: what the sums are compared with.
        replica: whose step it is.
        batch: what the capsule would hold; None where none is kept.
        proofs: which tensors need no pass of their own.
        read_as: id of a tensor to what is read in its stead, see `addends`.
        sums: id of a tensor to the half sum of its squares.
        implied: tensors that are proved to be finite, and the vector of their sums.
        beside: whether it is looked at beside, once it is over, if its trace allows it.
        later: whether nothing of it is read before many have run.
        ring: of the step that is looked at beside, once it is traced.
        gates: how many updates this step has made wait.
        at_gate: ids of what the step had computed by then.
        passed: int64 scalar that is there once the last gate was passed.
        checked: ids of the tensors whose sums are in `total`.
        summed: those that have a sum of their own, in the order in which they came.
        read: the limit's value, None before it was needed.
    """

    phase: Phase
    number: Any
    limit: Any
    replica: int
    batch: Batch | None
    beside: bool = False
    later: bool = False
    ring: Ring | None = None
    proofs: Proofs = field(default_factory=Proofs)
    read_as: dict[int, Any] = field(default_factory=dict)
    sums: dict[int, Any] = field(default_factory=dict)
    implied: list[tuple[list[Any], Any]] = field(default_factory=list)
    checked: set[int] = field(default_factory=set)
    summed: list[Any] = field(default_factory=list)
    gates: int = 0
    at_gate: set[int] = field(default_factory=set)
    passed: Any = None
    total: Any = None
    read: Any = None

    def limit_value(self) -> Any:
        """Returns the limit as a tensor, read once a step."""
        if self.read is None:
            self.read = self.limit.read_value()
        return self.read

    def learn(self, found: Sequence[Found]) -> None:
        """Takes in what the graph proves of tensors that were not summed yet.

        A validation pass may be short, and is told as a whole: there all is summed.
        """
        if self.phase == "validation":
            return
        before, self.proofs = self.proofs, prove(found, self.proofs.merged)
        new = self.proofs.implied - self.checked
        self.proofs.implied = new | before.implied & self.checked

    def sum_of(self, tensor: Any) -> Any:
        """Returns the half sum of squares of a tensor, computed once."""
        if id(tensor) not in self.sums:
            moments = self.proofs.moments.get(id(tensor))
            self.sums[id(tensor)] = (
                half_sum_of_squares(tensor)
                if moments is None
                else half_sum_by_moments(tensor, moments)
            )
        return self.sums[id(tensor)]

    def add(self, tensors: Sequence[Any]) -> Sums:
        """Adds what was met since the last call, and returns all so far.

        What is proved to be finite waits for the last call where the step is looked at
        beside: it may not be read at all.

        Args:
            tensors: all that can be non-finite and were met so far, each once.
        """
        new = [t for t in tensors if id(t) not in self.checked]
        if self.beside:
            new = [t for t in new if id(t) not in self.proofs.implied]
        self.checked.update(id(t) for t in new)
        implied = [t for t in new if id(t) in self.proofs.implied]
        summed = [t for t in new if id(t) not in self.proofs.implied]
        self.summed += summed
        parts = [self.sum_of(t) for t in summed]
        if self.total is not None:
            parts.insert(0, self.total)
        if parts:
            self.total = tf.add_n(parts)
        if implied:
            vector = self._sums_where_needed(implied)
            self.implied.append((implied, vector))
            self.total += tf.reduce_sum(vector)
        return Sums(
            self.total,
            [*self.summed, *(t for group, _ in self.implied for t in group)],
            [self.sum_of(t) for t in self.summed],
            [vector for _, vector in self.implied],
        )

    def guards(self) -> Any:
        """Returns the half sum of squares of what the proofs rest on; None without any."""
        parts = [self.sum_of(t) for t in self.proofs.guards]
        return tf.add_n(parts) if parts else None

    def is_calm(self) -> Any:
        """Returns whether the sums so far, and the guards, are within their limits."""
        calm, guards = self.total <= self.limit_value(), self.guards()
        if self.beside and guards is not None:
            calm = tf.logical_and(calm, guards <= GUARD_LIMIT)
        return calm

    def is_asked_for(self) -> bool:
        """Returns whether the step that runs is to be looked at, whatever it brings."""
        return self.ring is None or self.ring.expectation.limit < 0

    def may_be_over(self) -> bool:
        """Returns whether something that is no variable was bad, as far as is known."""
        if self.ring is None:
            return False
        bad, layout = self.ring.expectation.bad, self.ring.layout
        return bool(bad.any()) and any(
            bad[column]
            for probe, column in zip(layout.probes, layout.columns, strict=True)
            if column >= 0 and probe.kind not in VARIABLES
        )

    def _sums_where_needed(self, tensors: list[Any]) -> Any:
        """Returns [tensors] half sums, `NOT_SUMMED` where the proof is enough."""
        holds = self.total <= tf.minimum(self.limit_value(), PROOF_LIMIT)
        guards = self.guards()
        if guards is not None:
            holds = tf.logical_and(holds, guards <= GUARD_LIMIT)
        return tf.cond(
            tf.logical_and(holds, tf.logical_not(is_sampled(self.number))),
            lambda: tf.fill([len(tensors)], tf.constant(NOT_SUMMED)),
            lambda: tf.stack(
                [
                    half_sum_of_squares(t)
                    for t in make_again(tensors, self.proofs.made, lambda t: t)
                ]
            ),
        )


class Sums(NamedTuple):
    """The sums of a step's tensors so far.

    Attributes:
        total: of all of them.
        tensors: in the order of their sums.
        scalars: the sums of the first tensors.
        vectors: the sums of the others, where they were needed.
    """

    total: Any
    tensors: list[Any]
    scalars: list[Any]
    vectors: list[Any]
