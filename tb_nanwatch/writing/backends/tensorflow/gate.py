# SPDX-License-Identifier: Apache-2.0
"""The gate before an update: a step in which something is bad is kept before it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tb_nanwatch.writing.backends.kept import MANY_UPDATES
from tb_nanwatch.writing.backends.tensorflow.addends import read_where_added
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.news import News
from tb_nanwatch.writing.backends.tensorflow.ops import can_be_bad, one_after
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step
from tb_nanwatch.writing.backends.tracing import Found


class Gate:
    """Has updates wait until a bad step is kept.

    Args:
        capture: keeps it.
        news: of the training's steps.
        note: receives, in words, what went wrong in watching.
    """

    def __init__(self, capture: Capture, news: News, note: Callable[[str], None]) -> None:
        self._capture, self._news, self._note = capture, news, note

    def add(self, step: Step, found: Sequence[Found]) -> Any:
        """Returns what an update has to wait for: a bad step is kept before it.

        To have the gradients alone wait for it costs nothing that can be measured; to
        have every operation of the update wait takes a twentieth of a small step.

        Args:
            step: the step that makes the update.
            found: all that it has met, the gradients of this update included.
        """
        capture, batch = self._capture, step.batch
        found = read_where_added(found, step.read_as)
        tensors = list({id(f.tensor): f.tensor for f in found}.values())
        tensors = [t for t in tensors if can_be_bad(t)]
        if batch is None or not tensors:
            return None
        step.learn(found)
        sums = step.add(tensors)
        if sums.total is None:
            return None
        step.gates += 1
        step.at_gate.update(id(t) for t in tensors)
        missing = [MANY_UPDATES] if step.gates > 1 else []
        parts = [*sums.scalars, *sums.vectors]
        split = len(parts)
        known_bad = np.zeros(len(parts) if step.beside else len(tensors), np.bool_)

        def before_update(_: Any, number: Any, limit: Any, *arrays: Any) -> Any:
            nonlocal known_bad
            if self._news.muted:
                return np.int64(1)
            try:
                bad = ~np.isfinite(np.concatenate([np.ravel(a) for a in arrays[:split]]))
                new = bool((bad & ~known_bad).any())
                if step.beside:  # then it is kept for the look, too
                    new = bool((bad != known_bad).any()) or step.is_asked_for()
                    new = new or (not bad.any() and step.may_be_over())
                known_bad = bad
                # A step that is looked at for no such reason is not kept.
                extreme = limit >= 0 and not bad.any()
                # What an earlier update of this very step kept is from before it all.
                kept = capture.has(step.phase, step.replica, int(number))
                if (new or extreme) and not (missing and kept):
                    capture.keep(
                        batch,
                        step.phase,
                        step.replica,
                        int(number),
                        arrays[split:],
                        missing,
                        step.beside,
                    )
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be kept: {type(e).__name__}: {e}")
            return np.int64(1)

        limit = step.limit_value()
        inputs = [step.number, limit, *parts, *batch.inputs]
        step.passed = one_after(step.is_calm(), before_update, inputs)
        return step.passed
