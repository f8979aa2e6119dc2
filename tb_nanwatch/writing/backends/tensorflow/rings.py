# SPDX-License-Identifier: Apache-2.0
"""The rings of a training, with the counters and limits that its steps go by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_nanwatch.compat.tensorflow import resource_variable
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.tensorflow.ring import Ring, new_limit
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import NO_LIMIT, Layout


class Rings:
    """Makes a ring for each layout of a training's steps, and knows them all.

    Args:
        steps_per_call: returns how many steps one call of the function runs.

    Attributes:
        of_phase: the rings of each phase.
    """

    def __init__(self, steps_per_call: Callable[[], int]) -> None:
        self.of_phase: dict[Phase, list[Ring]] = {"train": [], "validation": []}
        self._steps_per_call = steps_per_call
        self._lock = threading.Lock()
        self._layouts: list[Layout] = []
        self._steps: dict[tuple[Phase, int], Any] = {}
        # An eager step is no trace of its own: all share one limit.
        self._eager_limits: dict[tuple[Phase, int], Any] = {}

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""
        step = self._steps.get((phase, 0))
        return 0 if step is None else int(step.numpy())

    def begin(self, phase: Phase, replica: int) -> tuple[Any, Any]:
        """Begins a trace of a step, or an eager step.

        Returns:
            The step's number, an int64 tensor; the variable that its sums are compared
            with.
        """
        key = (phase, replica)
        with self._lock, tf.init_scope():
            if key not in self._steps:
                self._steps[key] = resource_variable(np.int64(0))
        if tf.executing_eagerly():
            limit = self._eager_limits.setdefault(key, new_limit())
        else:
            with tf.init_scope():
                limit = new_limit()
        return self._steps[key].read_value(), limit

    def layout(
        self,
        phase: Phase,
        found: Sequence[Found],
        place: dict[int, int],
        n: int,
        has_batch: bool,
    ) -> Layout:
        """Returns what the row of a step stands for.

        Args:
            phase: of the step.
            found: its tensors, in causal order.
            place: of each tensor by its id; those with a column first.
            n: columns.
            has_batch: whether the batch size follows.
        """
        probes = [f.probe() for f in found]
        sources = [place[id(f.tensor)] for f in found]
        columns = [s if s < n else -1 for s in sources]
        return self.known(Layout(phase, probes, columns, sources, n, has_batch))

    def known(self, new: Layout) -> Layout:
        """Returns the layout that another trace of the same step had, or else `new`."""
        keys = [(p.kind, p.name) for p in new.probes]
        with self._lock:
            for layout in self._layouts:
                if (
                    layout.phase == new.phase
                    and layout.columns == new.columns
                    and layout.has_batch == new.has_batch
                    and [(p.kind, p.name) for p in layout.probes] == keys
                ):
                    return layout
            self._layouts.append(new)
            return new

    def ring(
        self,
        layout: Layout,
        step: Step,
        most: float = NO_LIMIT,
        *,
        guarded: bool = False,
    ) -> Ring:
        """Returns the ring that a step writes; see `Ring`."""
        # Made outside the traced function, and as plain variables even under a
        # distribution strategy: mirrored ones misreport a fault of one replica.
        with self._lock, tf.init_scope():
            for ring in self.of_phase[layout.phase]:
                if ring.layout is layout and ring.replica == step.replica:
                    break
            else:
                number = self._steps[layout.phase, step.replica]
                rows = 2 * self._steps_per_call()
                which = (layout, step.replica, number)
                ring = Ring(*which, rows, most, guarded=guarded)
                self.of_phase[layout.phase].append(ring)
            if not any(limit is step.limit for limit in ring.limits):
                ring.limits.append(step.limit)
            return ring

    @property
    def own(self) -> list[Any]:
        """The variables that are written by the steps, or for them."""
        rings = [ring for of_phase in self.of_phase.values() for ring in of_phase]
        own = [variable for ring in rings for variable in (ring.values, *ring.limits)]
        return [*self._steps.values(), *own, *self._eager_limits.values()]

    def let_pass(self) -> None:
        """Has no step compared with a limit from now on."""
        for rings in self.of_phase.values():
            for ring in rings:
                for limit in ring.limits:
                    limit.assign(np.float32(NO_LIMIT))


def write(ring: Ring, number: Any, row: Any) -> None:
    """Writes the row of a step, in the graph.

    Args:
        ring: of the step.
        number: int64 scalar, the step's.
        row: float32, as wide as the ring.
    """
    tf.raw_ops.ResourceScatterUpdate(
        resource=ring.values.handle,
        indices=tf.math.floormod(number, ring.size),
        updates=row,
    )
