# SPDX-License-Identifier: Apache-2.0
"""A step of which nothing but its sums leaves, as one row: it is looked at beside.

A tensor that leaves a cluster of XLA is rounded otherwise than in plain training, in the
last bit, and costs a copy. A sum that is made within the cluster changes nothing in a
training step. In a validation pass it can: no gradient needs a layer's output there, so
TensorFlow or XLA may fuse the operation that makes it with the one that takes it, unless
a sum reads it. So a validation pass does not read layers' outputs, and no step reads a loss
of several values; the total of the loss is read.
A step that stands out is not looked at while it runs. It is kept, from before its update,
and run again beside the training, operation by operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from tb_nanwatch.record.schema import Phase, Probe
from tb_nanwatch.writing.backends.tensorflow.ops import (
    batch_size,
    can_be_bad,
    half_sum_in_columns,
)
from tb_nanwatch.writing.backends.tensorflow.proofs import (
    GUARD_LIMIT,
    Proofs,
    half_sum_by_moments,
    prove,
    spreads,
)
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import NOT_SUMMED, Layout

_SHAPES: Final = frozenset(("Rank", "Shape", "Size"))
# Together with a product before it, XLA makes one of these at once.
_ADDS_UP: Final = frozenset(("Mean", "SquaredDifference", "Sub", "Sum"))
_MOVES: Final = frozenset(("Identity", "Reshape", "Transpose"))
_MULTIPLIES: Final = frozenset(
    ("BatchMatMulV2", "Einsum", "MatMul", "Mean", "Mul", "RealDiv", "SelectV2")
)


@dataclass(frozen=True)
class Parts:
    """What the elements of a step's row stand for.

    Attributes:
        probes: in causal order.
        columns: for each probe its element; -1 for a tensor that cannot be non-finite.
        num_columns: elements that are half sums of squares.
        has_batch: whether the batch size follows.
    """

    probes: list[Probe]
    columns: list[int]
    num_columns: int
    has_batch: bool


class Packed(NamedTuple):
    """What leaves a step.

    Attributes:
        row: [columns and batch size] float32, half sums of squares.
        guards: float32 scalar, that of what the proofs rest on.
        total: float32 scalar, of all columns; infinite where the guards prove nothing.
    """

    row: Any
    guards: Any
    total: Any


def pack(found: Sequence[Found], phase: Phase) -> tuple[Packed, Parts]:
    """Returns the half sums of a step's tensors, and what they stand for.

    What is proved to be finite is not read, and has `NOT_SUMMED`.

    Args:
        found: all that was met of the step, in the graph that is being built.
        phase: of the step.
    """
    found = [f for f in in_causal_order(found) if not _is_implied(f, found, phase)]
    unique = {id(f.tensor): f.tensor for f in found if can_be_bad(f.tensor)}
    # A validation pass is told as a whole, of which all is summed.
    proofs = Proofs() if phase == "validation" else prove(found)
    proofs.implied |= _told_by_what_they_go_into(unique, proofs)
    elements = [_element(t, proofs) for t in unique.values()]
    size = batch_size(found)
    guards = [half_sum_in_columns(t) for t in proofs.guards]
    guard = tf.add_n(guards) if guards else tf.constant(0.0)
    elements_and_size = [*elements, *([] if size is None else [size])]
    row = tf.stack(elements_and_size) if elements_and_size else tf.zeros([0])
    total = tf.reduce_sum(row[: len(elements)])
    total = tf.where(guard <= GUARD_LIMIT, total, np.inf) if guards else total
    place = {key: i for i, key in enumerate(unique)}
    columns = [place.get(id(f.tensor), -1) for f in found]
    parts = Parts([f.probe() for f in found], columns, len(place), size is not None)
    return Packed(row, guard, total), parts


def _element(tensor: Any, proofs: Proofs) -> Any:
    """Returns a tensor's element of the row, a float32 scalar."""
    if id(tensor) in proofs.implied:
        return tf.constant(NOT_SUMMED)
    moments = proofs.moments.get(id(tensor))
    if moments is not None:
        return half_sum_by_moments(tensor, moments)
    return half_sum_in_columns(tensor)


def _is_implied(one: Found, found: Sequence[Found], phase: Phase) -> bool:
    """Returns whether another sum of the step tells of a tensor that is not finite.

    XLA makes the values of a loss, an example each, and their sum at once, and otherwise
    where the values are read: the total is in their stead.
    """
    if one.kind == "loss" and one.name != "total":
        return any(f.kind == "loss" and f.name == "total" for f in found)
    return one.kind == "activation" and phase == "validation"


def _told_by_what_they_go_into(unique: dict[int, Any], proofs: Proofs) -> set[int]:
    """Returns ids of the products that XLA rounds otherwise where they are read.

    It makes a product, and the sum or difference it goes into, at once, if nothing else
    takes the product: rounded once, not twice. What it goes into is summed.

    Args:
        unique: the tensors of the step by their ids, in causal order.
        proofs: what is known of them.
    """
    summed = unique.keys() - proofs.implied
    told: set[int] = set()
    for key in reversed(unique):
        tensor = unique[key]
        if key in summed and _is_rounded_once(tensor) and spreads(tensor, summed - {key}):
            summed.discard(key)
            told.add(key)
    return told


def _is_rounded_once(tensor: Any) -> bool:
    takers = [op.type for op in tensor.consumers() if op.type not in _SHAPES]
    while tensor.op.type in _MOVES:
        tensor = tensor.op.inputs[0]
    return tensor.op.type in _MULTIPLIES and set(takers) <= _ADDS_UP


def layout_of(found: Sequence[Found], phase: Phase, known: Layout) -> Layout:
    """Returns the layout of tensors that were met in a step that was run again.

    Args:
        found: in causal order, each tensor once or more often.
        phase: of the step.
        known: the layout of the step as it was trained, whose probes stand for the same.
    """
    place = places(found)
    as_trained = {(p.kind, p.name): p for p in known.probes}
    probes = [f.probe() for f in found]
    probes = [as_trained.get((p.kind, p.name), p) for p in probes]
    n = sum(can_be_bad(t) for t in {id(f.tensor): f.tensor for f in found}.values())
    sources = [place[id(f.tensor)] for f in found]
    columns = [s if s < n else -1 for s in sources]
    return Layout(phase, probes, columns, sources, n, False)


def places(found: Sequence[Found]) -> dict[int, int]:
    """Returns by the id of each tensor its place: those that can be non-finite first."""
    unique = {id(f.tensor): f.tensor for f in found}
    ordered = sorted(unique, key=lambda key: not can_be_bad(unique[key]))
    return {key: i for i, key in enumerate(ordered)}
