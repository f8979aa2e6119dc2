# SPDX-License-Identifier: Apache-2.0
"""Steps that are looked at beside the training, once their call is over: nothing is held.

What stands out is kept, from before its update: by the gate, by what was read before a
compiled step, or as a state from which steps are run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from tb_nanwatch.postmortem.capsule import Sum
from tb_nanwatch.writing.backends.kept import UPDATED
from tb_nanwatch.writing.backends.tensorflow.addends import read_where_added
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.news import News, Standing
from tb_nanwatch.writing.backends.tensorflow.ops import (
    batch_size,
    can_be_bad,
    one_after,
)
from tb_nanwatch.writing.backends.tensorflow.packed import Packed, Parts
from tb_nanwatch.writing.backends.tensorflow.proofs import (
    GUARD_LIMIT,
    PROOF_LIMIT,
)
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tensorflow.rings import Rings, write
from tb_nanwatch.writing.backends.tensorflow.traced_step import VARIABLES, Step
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import (
    NO_LIMIT,
    NOT_SUMMED,
    Expectation,
    Layout,
)

# Steps of one call that stood out and wait to be looked at; each holds a copy of all
# variables.
_MOST_STANDING: Final = 4
# Elements of a tensor that costs nothing to hold until the step's end.
_FEW: Final = 64


class Beside:
    """Has the rows of steps written, and those that stand out kept.

    Args:
        rings: of the training.
        capture: makes what is kept.
        news: of the training's steps.
        note: receives, in words, what went wrong in watching.
    """

    def __init__(
        self,
        rings: Rings,
        capture: Capture,
        news: News,
        note: Callable[[str], None],
    ) -> None:
        self._rings, self._capture = rings, capture
        self._news, self._note = news, note

    def record_gated(self, step: Step, found: Sequence[Found]) -> bool:
        """Adds the ring to a step of which nothing is held, and that is looked at beside.

        What its gate kept is the whole step, from before its update. Where only what the
        update made stands out, the gate saw nothing: then the variables are looked at.

        Args:
            step: the step, whose update is over.
            found: all that it has met.

        Returns:
            Whether it could be: else nothing was added, and it has to be looked at as it
            runs.
        """
        found = in_causal_order(read_where_added(found, step.read_as))
        late = _late(found, step.at_gate)
        if step.gates != 1 or step.batch is None or late is None:
            return False
        unique = {id(f.tensor): f.tensor for f in found}
        columns = [t for t in unique.values() if can_be_bad(t)]
        step.learn(found)
        sums = step.add(columns)
        implied = [t for t in columns if id(t) not in step.checked]
        tensors = [*sums.tensors, *implied]
        n = len(tensors)
        tensors += [t for t in unique.values() if not can_be_bad(t)]
        place = {id(t): i for i, t in enumerate(tensors)}
        size = batch_size(found)
        layout = self._rings.layout(step.phase, found, place, n, size is not None)
        not_summed = tf.constant(NOT_SUMMED)
        row = [*sums.scalars, *(not_summed for _ in implied)]
        row = tf.stack([*row, *([] if size is None else [size])])
        step.ring = self._rings.ring(layout, step, PROOF_LIMIT)
        guards = step.guards()
        guards = tf.constant(0.0) if guards is None else guards
        self._write_ring(step, step.ring, row, guards, step.is_calm(), late)
        return True

    def record_packed(self, step: Step, parts: Parts, sums: Packed) -> None:
        """Adds the ring to a step that XLA compiled, and keeps it where it stands out.

        Args:
            step: the step, whose update is over.
            parts: what the elements of its row stand for.
            sums: that left it.
        """
        if not parts.num_columns or step.batch is None:
            return
        ring = self._rings.ring(self._layout_of(step, parts), step, PROOF_LIMIT)
        calm = sums.total <= step.limit_value()
        self._write_ring(step, ring, sums.row, sums.guards, calm, [])

    def record_later(self, step: Step, parts: Parts, sums: Packed) -> None:
        """Adds the ring to a step of which the host reads nothing until the ring is read.

        Args:
            step, parts, sums: as of `record_packed`.
        """
        if not parts.num_columns:
            return
        ring = self._rings.ring(
            self._layout_of(step, parts), step, PROOF_LIMIT, guarded=True
        )
        write(ring, step.number, tf.concat([sums.row, [sums.guards]], 0))
        ring.step.assign_add(np.int64(1), read_value=False)

    def _layout_of(self, step: Step, parts: Parts) -> Layout:
        places = list(range(len(parts.probes)))
        return self._rings.known(
            Layout(
                *(step.phase, parts.probes, parts.columns),
                *(places, parts.num_columns, parts.has_batch),
            )
        )

    def _write_ring(
        self,
        step: Step,
        ring: Ring,
        row: Any,
        guards: Any,
        calm: Any,
        late: Sequence[Found],
    ) -> None:
        """Writes a row, and has a step that stands out kept until its call is over.

        Args:
            step: that is looked at beside.
            ring: that it has.
            row: [columns and batch size] of the step.
            guards: the half sum of squares of what the proofs rest on.
            calm: whether the step is not to be asked any further.
            late: what it computed after its gate, but for variables; all small.
        """
        assert step.batch is not None
        batch, n = step.batch, ring.layout.num_columns
        end = len(late) + len(batch.inputs)
        write(ring, step.number, row)

        def keep(_: Any, number: Any, row: Any, guards: Any, *inputs: Any) -> Any:
            if self._news.muted:
                return np.int64(1)
            try:
                if ring.stands_out(row[:n], proved=bool(guards <= GUARD_LIMIT)):
                    self._news.has_come = True
                    # Until it has been looked at, only news stand out.
                    ring.expectation = Expectation(NO_LIMIT, ~np.isfinite(row[:n]))
                    if len(self._news.standing) < _MOST_STANDING:
                        sums = [Sum(*part) for part in ring.layout.sums(row)]
                        which = (step.phase, step.replica, int(number))
                        arrays, rest = inputs[: len(late)], inputs[len(late) : end]
                        kept = self._capture.kept_by_gate(*which, sums)
                        if kept is None:
                            missing = [UPDATED] if step.beside else []
                            kept = self._capture.make(batch, *which, rest, missing, sums)
                        values = [
                            (f, np.array(a)) for f, a in zip(late, arrays, strict=True)
                        ]
                        self._news.standing.append(Standing(kept, ring, values))
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be kept: {type(e).__name__}: {e}")
            return np.int64(1)

        inputs = [step.number, row, guards, *(f.tensor for f in late), *batch.inputs]
        if step.passed is not None:  # not before the gate has kept the step
            inputs.append(step.passed)
        one = one_after(calm, keep, inputs)
        ring.step.assign_add(one, read_value=False)


def _late(found: Sequence[Found], at_gate: set[int]) -> list[Found] | None:
    """Returns what a step computed after its gate, but for variables.

    Args:
        found: all that the step has met.
        at_gate: ids of what it had computed by then.

    Returns:
        None where some of it is not small: to hold it would cost.
    """
    late = {
        id(f.tensor): f
        for f in found
        if f.kind not in VARIABLES
        and id(f.tensor) not in at_gate
        and can_be_bad(f.tensor)
    }
    sizes = [f.tensor.shape.num_elements() for f in late.values()]
    return list(late.values()) if all(n and n <= _FEW for n in sizes) else None
