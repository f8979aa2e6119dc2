# SPDX-License-Identifier: Apache-2.0
"""Optimizer slots that need no pass of their own: the update carries their faults on.

An update reads a slot, computes with it and adds the result to a weight. Where an element
of the slot is not finite, that of the weight is not either, provided that each operation
in between hands it on. The weight is summed in every step, so that the slot needs no sum:
Adam's two slots are two thirds of all that an update writes. The operations of the step
tell, never an optimizer's name; what Python writes between two steps changes nothing in it,
since slot and weight are both read after the update of the same step.

An infinite divisor leaves a weight as it was. Adam divides by its second moment; the operations
show that it is never infinite: `v += (g**2 - v) * c` makes NaN of an infinite `v`, and stays
in between `v` and `g**2` where 0 < c < 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from tb_nanwatch.writing.backends.tensorflow.ops import has_zero, same_shape

_READ: Final = "ReadVariableOp"
# They leave what is not finite as it is: something is added to it.
_ADDED_TO: Final = frozenset(("AssignAddVariableOp", "AssignSubVariableOp"))
_ASSIGNS: Final = _ADDED_TO | {"AssignVariableOp"}
_KNOWN: Final = _ASSIGNS | {_READ}
# Of an element that is not finite they make one that is not.
_CARRY: Final = frozenset(
    ("Add", "AddV2", "Identity", "IdentityN", "Mul", "Neg", "Sqrt", "Square", "Sub")
)
# log2 of what can be added to the largest float32 without being more than it, rounded.
_ABSORBED_BITS: Final = 102.0
# With a factor that rounding cannot bring to 1, `v + (x - v) * c` lies between both.
_LARGEST_FACTOR: Final = 0.999
_MAX_STEPS: Final = 64

Bits = Callable[[Any], float | None]


def carried(slots: Sequence[Any], weights: Sequence[Any], bits: Bits) -> set[int]:
    """Returns the ids of the slots that need no sum while those of the weights are taken.

    Args:
        slots: tensors, each a variable's value read after the update.
        weights: the same of weights, each of which is summed.
        bits: returns log2 of the largest element that a tensor can have while the sums
            stay within their limits; None where that is not known.
    """
    slots = [s for s in slots if s.op.type == _READ and s.dtype == tf.float32]
    if not slots:
        return set()
    updates = _Updates(slots[0].graph, weights, bits)
    return {id(slot) for slot in slots if updates.carry(slot)}


class _Updates:
    """What a traced step does to its variables.

    Args:
        graph: of the step.
        weights, bits: as `carried` has them.
    """

    def __init__(self, graph: Any, weights: Sequence[Any], bits: Bits) -> None:
        # In this order the reads and writes of one variable run: TensorFlow sees to it in
        # a function that it traces.
        self._order = {op.name: i for i, op in enumerate(graph.get_operations())}
        self._summed = {id(w.op.inputs[0]): w for w in weights if w.op.type == _READ}
        self._bits = bits

    def carry(self, slot: Any) -> bool:
        """Returns whether a summed weight is not finite wherever `slot` is not."""
        uses = self._uses(slot.op.inputs[0])
        assigns = [op for op in uses if op.type in _ASSIGNS]
        if len(assigns) != 1 or not self._is_after(slot.op, assigns[0]):
            return False
        never_infinite = self._is_never_infinite(assigns[0])
        return any(
            self._reaches(op.outputs[0], never_infinite)
            for op in uses
            if op.type == _READ and self._is_after(op, assigns[0])
        )

    def _uses(self, handle: Any) -> list[Any]:
        """Returns what reads or writes a variable; nothing where not all of it is known."""
        uses = list(handle.consumers())
        return uses if all(op.type in _KNOWN for op in uses) else []

    def _is_after(self, op: Any, other: Any) -> bool:
        return self._order[op.name] > self._order[other.name]

    def _is_never_infinite(self, assign: Any) -> bool:
        """Returns whether a variable is finite or NaN, never infinite, after `assign`.

        It is where (x - variable) * c is added to it, with 0 < c < 1 and a finite x.
        """
        added = assign.inputs[1]
        if assign.type != "AssignAddVariableOp" or added.op.type != "Mul":
            return False
        factors = list(added.op.inputs)
        for difference, factor in (factors, factors[::-1]):
            c = tf.get_static_value(factor)
            if c is None or np.size(c) != 1 or not 0 < np.max(c) <= _LARGEST_FACTOR:
                continue
            if difference.op.type != "Sub":
                continue
            x, value = difference.op.inputs
            if (
                value.op.type == _READ
                and value.op.inputs[0] is assign.inputs[0]
                and self._is_after(assign, value.op)
                and same_shape(x, value)
            ):
                most = self._bits(x)
                return most is not None and most <= _ABSORBED_BITS
        return False

    def _reaches(self, value: Any, never_infinite: bool) -> bool:
        """Returns whether a summed weight is not finite wherever `value` is not.

        Args:
            value: of a slot, after its update.
            never_infinite: where it is not finite, it is NaN.
        """
        waiting = [value]
        for _ in range(_MAX_STEPS):
            if not waiting:
                return False
            x = waiting.pop()
            for op in x.consumers():
                if op.type in _ADDED_TO and op.inputs[1] is x:
                    if self._arrives(op):
                        return True
                elif _hands_on(op, x, never_infinite):
                    waiting.append(op.outputs[_place(op, x)])
        return False

    def _arrives(self, assign: Any) -> bool:
        """Returns whether what is added to a variable is in a weight that is summed."""
        handle, added = assign.inputs
        weight = self._summed.get(id(handle))
        if weight is None or not same_shape(weight, added):
            return False
        # What is before it (a loop that reads the weight) takes nothing of it away.
        later = [op for op in handle.consumers() if self._is_after(op, assign)]
        added_to = [op for op in later if op.type != _READ]
        return (
            weight.op in later
            and all(op.type in _ADDED_TO for op in added_to)
            and all(self._is_after(weight.op, op) for op in added_to)
        )


def _hands_on(op: Any, x: Any, never_infinite: bool) -> bool:
    """Returns whether an operation's result is not finite wherever `x` is not.

    Args:
        op: takes `x`.
        x: as large as the slot.
        never_infinite: where it is not finite, it is NaN.
    """
    if op.type == "RealDiv":
        # What is divided by infinity is zero.
        hands_on = never_infinite or op.inputs[1] is not x
    elif op.type == "Mul":
        # What is multiplied by a constant zero may never be computed.
        hands_on = not any(has_zero(t) for t in op.inputs if t is not x)
    else:
        hands_on = op.type in _CARRY
    return hands_on and same_shape(op.outputs[_place(op, x)], x)


def _place(op: Any, x: Any) -> int:
    """Returns which output of an operation is made of its input `x`."""
    if op.type != "IdentityN":
        return 0
    return next(i for i, t in enumerate(op.inputs) if t is x)
