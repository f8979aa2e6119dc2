"""The failing step once more: for the values on the way to its first bad operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from tb_nanwatch.postmortem import chain
from tb_nanwatch.postmortem.chain import Chain, Ran
from tb_nanwatch.postmortem.flow import Flow, Op
from tb_nanwatch.postmortem.watch import eager_operations
from tb_nanwatch.record.schema import Since

# Batches before the failing one that are run with its state.
MAX_BATCHES: Final = 5
# The time limit of all these runs together: they only add detail to a result that is known.
MAX_SECONDS: Final = 2.0
# A step that took longer than this is not run again: one run for the chain takes about as
# long as the one that found the operation, and nothing else tells cause and fix.
LONGEST_STEP: Final = 10.0


class Again:
    """Runs a step again and keeps some of its operations.

    Args:
        step: runs the failing step's kind of step on a batch of tensors.
        restore: sets the model to its state from before the failing step.
        seconds: after which no further run begins.
    """

    def __init__(
        self,
        step: Callable[[Any], Any],
        restore: Callable[[], Any],
        seconds: float = MAX_SECONDS,
    ) -> None:
        self._step, self._restore = step, restore
        self._deadline = time.monotonic() + seconds

    def chain(
        self,
        flow: Flow,
        op: Op,
        data: Any,
        variables: Sequence[tuple[str, Any]],
        rows: int,
    ) -> Chain | None:
        """Returns where the input of the first bad operation came from.

        Args:
            flow, op: of the run that found it.
            data: the failing batch, as tensors: the very ones of that run.
            variables: path and value from before the step.
            rows: of the batch, 0 where that is unknown.
        """
        wanted = chain.ancestors(flow, op)
        ran = self._run(self._restore, data, wanted)
        if not _is_same(ran, op):
            return None
        return chain.follow(flow, op, ran, variables, rows)

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
        """Returns whether other batches and earlier weights do the same.

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

    def _run(
        self, restore: Callable[[], Any], data: Any, wanted: set[int]
    ) -> dict[int, Ran]:
        restore()
        keeper = _Keeper(wanted)
        with eager_operations(keeper):
            self._step(data)
        return keeper.kept()


class _Keeper:
    """Keeps the tensors of some operations, by their number in the order of the step."""

    def __init__(self, wanted: set[int]) -> None:
        self._wanted = wanted
        self._count = 0
        self._kept: dict[int, tuple[str, list[Any], list[Any]]] = {}

    def __call__(
        self,
        op_type: Any,
        inputs: Sequence[Any],
        attrs: Any,
        outputs: Sequence[Any],
        op_name: Any = None,
        graph: Any = None,
    ) -> None:
        if graph is not None:
            return
        self._count += 1
        if self._count in self._wanted:
            name = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
            self._kept[self._count] = (name, list(inputs), list(outputs))

    def kept(self) -> dict[int, Ran]:
        return {
            number: Ran(
                name, [_array(t) for t in inputs], [_array(t) for t in outputs or ()]
            )
            for number, (name, inputs, outputs) in self._kept.items()
        }


def _array(tensor: Any) -> Any:
    if tensor.dtype in (tf.resource, tf.variant, tf.string):
        return None
    return tensor.numpy()


def _is_same(ran: dict[int, Ran], op: Op) -> bool:
    """Returns whether the operation of that number is the same one."""
    return op.index in ran and ran[op.index].op_type == op.op_type
