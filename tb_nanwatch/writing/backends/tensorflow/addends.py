# SPDX-License-Identifier: Apache-2.0
"""Tensors that nothing but an addition takes: read where they have been added.

TensorFlow merges an addition with what makes one of its summands: with the product or
convolution before it, or with another addition. It does so only where nothing else reads
the summand, so that reading it changes how the sum is rounded. What it is added into is
read in its stead: wherever an element of a summand is not finite, that of the sum is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import tensorflow as tf

from tb_nanwatch.writing.backends.tracing import Found

_ADDS: Final = frozenset(("Add", "AddN", "AddV2", "BiasAdd"))
# What makes a summand that an addition is merged with.
_MERGED: Final = _ADDS | frozenset(
    (
        *("BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative"),
        *("FusedBatchNormV3", "MatMul", "Mul", "Sub"),
    )
)
# What they draw is finite.
_DRAWS: Final = frozenset(
    (
        *("RandomStandardNormal", "RandomUniform", "TruncatedNormal"),
        *("StatelessRandomNormal", "StatelessRandomNormalV2", "StatelessRandomUniform"),
        *("StatelessRandomUniformV2", "StatelessTruncatedNormal"),
        "StatelessTruncatedNormalV2",
    )
)
# They ask for the shape alone, which a graph knows without the tensor.
_SHAPES: Final = frozenset(("Rank", "Shape", "Size"))
# Additions that follow one another.
_MAX_CHAIN: Final = 64
_MAX_DEPTH: Final = 8


def read_where_added(found: Sequence[Found], known: dict[int, Any]) -> list[Found]:
    """Returns what was met, with the sums in the place of summands that are not read.

    Args:
        found: all that was met of a step, in one graph, or eagerly.
        known: by the ids of tensors what is read in their stead; it grows, and has to be
            the same for all calls of one step. Whether an addition alone takes a tensor is
            decided at the first call: the sums that are added afterwards take it, too.
    """
    if tf.executing_eagerly():
        return list(found)
    others = {id(f.tensor) for f in found if f.kind != "activation"}
    watched = {id(f.tensor) for f in found}
    for f in found:
        if id(f.tensor) not in known:
            read = f.tensor if id(f.tensor) in others else _sum_of(f.tensor, watched)
            known[id(f.tensor)] = read
    return [replace(f, tensor=known[id(f.tensor)]) for f in found]


def _sum_of(tensor: Any, watched: set[int]) -> Any:
    """Returns what a tensor has become once nothing merges it any more.

    Args:
        tensor: of the graph.
        watched: ids of the tensors that are read themselves.
    """
    for _ in range(_MAX_CHAIN):
        if tensor.op.type not in _MERGED:
            return tensor
        takers = [op for op in tensor.consumers() if op.type not in _SHAPES]
        if len(takers) != 1 or takers[0].type not in _ADDS:
            return tensor
        # Beside a mask of -inf nobody could see that the summand has gone bad.
        rest = [t for t in takers[0].inputs if t is not tensor]
        if not all(_is_ordinary(t, watched, 0) for t in rest):
            return tensor
        (total,) = takers[0].outputs
        # A summand that is broadcast has fewer elements than the sum: their counts differ.
        if total.shape.rank is None or list(total.shape) != list(tensor.shape):
            return tensor
        tensor = total
    return tensor


def _is_ordinary(tensor: Any, watched: set[int], depth: int) -> bool:
    """Returns whether a summand is read, drawn or constant, or made of what is."""
    op = tensor.op
    if id(tensor) in watched or op.type == "ReadVariableOp" or op.type in _DRAWS:
        return True
    if op.type == "Const":
        return bool(np.isfinite(tf.get_static_value(tensor)).all())
    known = op.type in _ADDS or op.type in ("Cast", "Identity", "Mul", "Reshape")
    if not known or depth > _MAX_DEPTH:
        return False
    return all(
        _is_ordinary(t, watched, depth + 1) for t in op.inputs if t.dtype.is_floating
    )
