# SPDX-License-Identifier: Apache-2.0
"""What is seen of one step of a capsule that is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tb_nanwatch.postmortem.capsule import Sum
from tb_nanwatch.record.schema import KINDS, BadTensor, Phase
from tb_nanwatch.writing.recording.health import health_of
from tb_nanwatch.writing.recording.observer import LOOK_NEXT, Expectation, Floats, Layout


@dataclass
class Seen:
    """What was seen of a step.

    Attributes:
        bad: its non-finite tensors, in causal order.
        sums: of all its tensors, in causal order.
        missing: what of the state before it was not kept, in words.
    """

    bad: list[BadTensor] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def observe(
        self,
        layout: Layout,
        replica: int,
        step: int,
        tensors: Sequence[Any],
        *,
        spent: float = 0.0,
    ) -> Expectation:
        """Counts the non-finite elements of each tensor."""
        for probe, source in zip(layout.probes, layout.sources, strict=True):
            health = health_of(tensors[source])
            counts = (health.num_nan, health.num_pos_inf, health.num_neg_inf)
            if any(counts):
                bad = BadTensor(probe.kind, probe.name, *counts, size=health.size)
                self.bad.append(bad)
        return Expectation(LOOK_NEXT, np.zeros(layout.num_columns, np.bool_))

    def is_onset(self, phase: Phase, step: int, replica: int) -> bool:
        """Returns False: nothing is kept of the step."""
        return False

    def rows(self, layout: Layout, replica: int, first_step: int, rows: Floats) -> None:
        """Keeps the sums of the first step."""
        self.sums += [Sum(*part) for part in layout.sums(rows[0])]

    def in_causal_order(self) -> Seen:
        """Returns itself, with the tensors in causal order."""
        order = {kind: i for i, kind in enumerate(KINDS)}
        self.bad.sort(key=lambda b: order[b.kind])
        return self
