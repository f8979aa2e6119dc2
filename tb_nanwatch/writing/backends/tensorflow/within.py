# SPDX-License-Identifier: Apache-2.0
"""Steps that are looked at as they run: their tensors are held for a branch that is slow.

So run steps of several updates, of several replicas, of several in a call, and eager ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_nanwatch.postmortem.capsule import Sum
from tb_nanwatch.writing.backends.kept import UPDATED
from tb_nanwatch.writing.backends.tensorflow.addends import read_where_added
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.news import News
from tb_nanwatch.writing.backends.tensorflow.ops import (
    batch_size,
    can_be_bad,
    one_after,
)
from tb_nanwatch.writing.backends.tensorflow.recompute import make_again
from tb_nanwatch.writing.backends.tensorflow.rings import Rings, write
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step, Sums
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import Layout, Observer


class Within:
    """Looks at steps as they run.

    Args:
        observer: receives what is seen.
        rings: of the training.
        capture: keeps the step at which the run goes bad; None where nothing does.
        news: of the training's steps.
        note: receives, in words, what went wrong in watching.
    """

    def __init__(
        self,
        observer: Observer,
        rings: Rings,
        capture: Capture | None,
        news: News,
        note: Callable[[str], None],
    ) -> None:
        self._observer, self._rings, self._capture = observer, rings, capture
        self._news, self._note = news, note

    def record(self, step: Step, found: list[Found]) -> None:
        """Adds the row, the ring and the slow branch to the step."""
        found = in_causal_order(read_where_added(found, step.read_as))
        unique: dict[int, Any] = {}
        for f in found:
            unique.setdefault(id(f.tensor), f.tensor)
        columns = [t for t in unique.values() if can_be_bad(t)]
        if not columns:
            return
        step.learn(found)
        sums = step.add(columns)
        # Tensors that can be non-finite first: they are the ring's columns.
        tensors = [*sums.tensors, *(t for t in unique.values() if not can_be_bad(t))]
        place = {id(t): i for i, t in enumerate(tensors)}
        size = batch_size(found)
        layout = self._rings.layout(
            step.phase, found, place, len(columns), size is not None
        )
        ring = self._rings.ring(layout, step)
        row = _row_of(sums, size)
        write(ring, step.number, row)
        batch = step.batch
        extra = [] if batch is None else batch.inputs
        made = step.proofs.made
        kept = [i for i, t in enumerate(tensors) if id(t) not in made]
        remade = [i for i, t in enumerate(tensors) if id(t) in made]
        split = len(kept) + len(extra)
        places = np.argsort([*kept, *remade])

        def look(_: Any, number: Any, row: Any, *arrays: Any) -> Any:
            if self._news.muted:
                return np.int64(1)
            try:
                if ring.expectation.stands_out(row[: layout.num_columns]):
                    self._news.has_come = True
                    values = [*arrays[: len(kept)], *arrays[split:]]
                    values = [values[i] for i in places]
                    ring.expect(
                        self._observer.observe(layout, step.replica, int(number), values)
                    )
                    self._settle(
                        step, layout, int(number), row, arrays[len(kept) : split]
                    )
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be looked at: {type(e).__name__}: {e}")
            return np.int64(1)

        calm = sums.total <= step.limit_value()
        one = one_after(
            calm,
            look,
            [step.number, row, *(tensors[i] for i in kept), *extra],
            lambda within: make_again([tensors[i] for i in remade], made, within),
        )
        ring.step.assign_add(one, read_value=False)

    def _settle(
        self, step: Step, layout: Layout, number: int, row: Any, extra: Sequence[Any]
    ) -> None:
        """Keeps the step that was just observed, if it is the run's onset."""
        capture, batch = self._capture, step.batch
        if capture is None or batch is None:
            return
        wanted = self._observer.is_onset(step.phase, number, step.replica)
        if wanted and not capture.has(step.phase, step.replica, number):
            # Validation updates nothing, and XLA's step was read before it began.
            whole = step.phase == "validation" or batch.everything
            missing = [] if whole else [UPDATED]
            capture.keep(batch, step.phase, step.replica, number, extra, missing)
        sums = [Sum(*part) for part in layout.sums(row)]
        capture.settle(step.phase, step.replica, wanted, sums)


def _row_of(sums: Sums, size: Any) -> Any:
    """Returns [columns and batch size] of a step, as float32."""
    last = [] if size is None else [size]
    if sums.vectors:
        return tf.concat([tf.stack(sums.scalars), *sums.vectors, tf.stack(last)], 0)
    return tf.stack([*sums.scalars, *last])
