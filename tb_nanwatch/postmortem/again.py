# SPDX-License-Identifier: Apache-2.0
"""Runs the failing step again to record the values that led to its first bad operation."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import chain
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.chain import Chain, Ran
from tb_nanwatch.postmortem.flow import Flow, Op
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import PostMortem, Since
from tb_nanwatch.wording.messages import of_error

# Batches before the failing one that are run with its state.
MAX_BATCHES: Final = 5
# The time limit of all these runs together: they only add detail to a result that is known.
MAX_SECONDS: Final = 2.0
# A step that took longer than this is not run again: one run for the chain takes about as
# long as the one that found the operation, and nothing else tells cause and fix.
LONGEST_STEP: Final = 10.0

# Runs the failing step's kind of step: what sets the model to the state from before it, the
# batch as a step receives it, and the numbers of the operations that are wanted.
Run = Callable[[Callable[[], Any], Any, set[int]], dict[int, Ran]]


class Again:
    """Runs a step again and looks at some of its operations.

    Args:
        run: runs it.
        restore: sets the model to its state from before the failing step.
        public_name: returns the name under which users call an operation of a type.
        seconds: after which no further run begins.
    """

    def __init__(
        self,
        run: Run,
        restore: Callable[[], Any],
        public_name: Callable[[str], str],
        seconds: float = MAX_SECONDS,
    ) -> None:
        self._run, self._restore, self._public_name = run, restore, public_name
        self._deadline = time.monotonic() + seconds

    def chain(
        self,
        flow: Flow,
        op: Op,
        data: Any,
        variables: Sequence[tuple[str, Any]],
        arrays: Mapping[int, Any],
    ) -> Chain | None:
        """Returns where the input of the first bad operation came from.

        Args:
            flow, op: of the run that found it.
            data: the failing batch, as tensors: the very ones of that run.
            variables: path and value from before the step.
            arrays: of the batch, by the ids of its tensors in the flow.
        """
        sizes = {len(array) for array in arrays.values() if array.ndim}
        rows = sizes.pop() if len(sizes) == 1 else 0
        wanted = chain.ancestors(flow, op)
        ran = self._run(self._restore, data, wanted)
        if not _is_same(ran, op):
            return None
        return chain.follow(
            flow, op, ran, variables, rows, public_name=self._public_name, data=arrays
        )

    def since(
        self,
        op: Op,
        operand: int,
        batches: Sequence[Any],
        *,
        data: Any = None,
        earlier: Callable[[], Any] | None = None,
        steps: int = 0,
    ) -> Since | None:
        """Runs other batches and earlier weights, and returns whether the operation goes bad too.

        Args:
            op: the first bad operation.
            operand: number of the input whose range is told.
            batches: those before the failing one, the last one first; with tensors.
            data: the failing batch.
            earlier: sets the model to its state of so many `steps` before.
        """
        found = Since()
        ranges = []
        for batch in batches[:MAX_BATCHES]:
            if time.monotonic() > self._deadline:
                break
            ran = self._run(self._restore, batch, {op.index})
            if not _is_same(ran, op):
                continue  # a batch of another kind, such as a shorter one
            found.batches += 1
            found.bad += chain.first_bad(ran[op.index]) is not None
            array = ran[op.index].inputs[operand]
            finite = np.asarray(array, np.float64)
            ranges.append(finite[np.isfinite(finite)])
        if ranges and all(r.size for r in ranges):
            found.low = float(min(r.min() for r in ranges))
            found.high = float(max(r.max() for r in ranges))
        if earlier is not None and steps and time.monotonic() <= self._deadline:
            ran = self._run(earlier, data, {op.index})
            if _is_same(ran, op):
                found.steps = steps
                found.was_bad = chain.first_bad(ran[op.index]) is not None
        return found if found.batches or found.was_bad is not None else None


def say_since(
    result: PostMortem,
    again: Again,
    capsule: Capsule,
    tape: Tape | None,
    flow: Flow,
    op: Op,
    data: Any,
    arrays: Mapping[int, Any],
) -> None:
    """Adds to the post-mortem where the bad input came from, and whether it is new.

    Never raises.

    Args:
        result: of the run that found the operation; changed in place.
        again: runs the step.
        capsule: of the failing step.
        tape: the steps before it, None where they were not kept.
        flow, op, data, arrays: as of `Again.chain`.
    """
    variables = [(s.path, s.value) for s in capsule.variables if s.value is not None]
    try:
        found = again.chain(flow, op, data, variables, arrays)
        if found is None:
            return
        result.chain = found.links
        steps = capsule.position.step - tape.first if tape is not None else 0
        if tape is not None and capsule.position.phase == "train" and steps > 0:
            result.since = again.since(
                op,
                found.operand,
                tape.batches[:steps][::-1],
                data=data,
                earlier=tape.restore,
                steps=steps,
            )
    except Exception as e:
        warnings.warn(
            "NaN Watch could not tell where the first bad operation's input came from, "
            f"training is not affected. {of_error(e)}",
            NanWatchWarning,
            stacklevel=4,
        )


def _is_same(ran: dict[int, Ran], op: Op) -> bool:
    """Returns whether the operation of that number has the same type as before."""
    return op.index in ran and ran[op.index].op_type == op.op_type
