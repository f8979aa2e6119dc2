# SPDX-License-Identifier: Apache-2.0
"""Which large tensors need no pass of their own: the traced operations prove it.

A sum over a tensor is one more pass through memory. For large activations the step
often holds the answer already:

* A normalisation takes mean and variance of its input. Together they are the sum of
  squares, and one of them is not finite where an element is not.
* Operations such as ReLU, addition and scaling by a small vector make finite values of
  finite ones that are not huge. What they return is finite where what they receive is.
* A product of a finite tensor and finite weights, neither of them huge, is finite. This
  is not for the sake of time (a sum over the weights is taken for it) but where TensorFlow
  makes product and activation at once: who reads in between changes how they are rounded.
* A sum whose one summand is not finite is not finite either. A branch is finite where
  the sum it is added into is, and an optimizer's slot where the weight is (`carried`).

All of this is read from the operations that made the very tensor, never from a layer's
class or name: what the graph does not show to be safe is summed. Magnitudes are tracked
as powers of two. They begin with what the sums allow (`PROOF_LIMIT`, `GUARD_LIMIT`: a
step that exceeds them has every tensor summed) and end where a dtype could overflow.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from tb_nanwatch.record.schema import Kind
from tb_nanwatch.writing.backends.tensorflow.carried import carried
from tb_nanwatch.writing.backends.tensorflow.ops import has_zero, same_shape
from tb_nanwatch.writing.backends.tensorflow.recompute import those_that_can
from tb_nanwatch.writing.backends.tracing import Found

# Half sums of squares up to which a step's tensors, and its guards, carry a proof. Both
# are far beyond what a training lives with.
PROOF_LIMIT: Final = 2.0**100
GUARD_LIMIT: Final = 2.0**64
# Elements of one example, from which on a tensor's pass costs more than a few small
# operations. Not of the whole batch: a step that is run again may know its size.
LARGE: Final = 1024
# The tensor whose pass a guard saves is larger than it by this, at least.
_TIMES_LARGER: Final = 8
# log2 of the largest element within such a sum; half a bit for what is rounded.
_SUM_BITS: Final = (math.log2(PROOF_LIMIT) + 1) / 2 + 0.5
_GUARD_BITS: Final = (math.log2(GUARD_LIMIT) + 1) / 2 + 0.5
# Elements of a dtype are finite below two to the power of this.
_FINITE_BITS: Final = {
    "float16": 16.0,
    "bfloat16": 128.0,
    "float32": 128.0,
    "float64": 128.0,
}
_INTEGER_BITS: Final = 64.0
_MAX_DEPTH: Final = 16
_MAX_STEPS: Final = 64

_KINDS: Final[tuple[Kind, ...]] = ("activation", "prediction")
# The result's elements are elements of the first input, their negatives, or zeros.
_SELECTS: Final = frozenset(
    (
        *("Abs", "BroadcastTo", "EnsureShape", "ExpandDims", "Identity", "MaxPool"),
        *("Neg", "Pad", "Relu", "Relu6", "Reshape", "Slice", "Squeeze", "StopGradient"),
        *("StridedSlice", "Tile", "Transpose"),
    )
)
# The result lies within -2 and 2 wherever the input is finite.
_SQUASHES: Final = frozenset(("Erf", "Erfc", "Sigmoid", "Softmax", "Softsign", "Tanh"))
# The result's magnitude is at most that of the input, or 1, or twice the larger of both.
_SOFTENS: Final = frozenset(("Elu", "Softplus"))
_OF_ONE: Final = _SELECTS | _SQUASHES | _SOFTENS | frozenset(("Cast", "Square"))
_ADDS: Final = frozenset(("Add", "AddV2", "BiasAdd", "Sub"))
# Elements of the result are sums of products of the elements of both inputs.
_CONTRACTIONS: Final = frozenset(("Conv2D", "DepthwiseConv2dNative", "MatMul"))
# What TensorFlow makes at once with the product before it, if nothing else takes that. (It
# does so with a ReLU, too, which rounds nothing.)
_MERGED: Final = frozenset(("Elu", "Sigmoid", "Tanh"))
# Where an element of an input is not finite, one of the result is not.
_SPREADS: Final = frozenset(
    (
        *(*_ADDS, "Cast", "Identity", "Mul", "Neg", "Reshape"),
        *("Square", "SquaredDifference", "Transpose"),
    )
)
# So is a sum or mean of the elements.
_REDUCES: Final = frozenset(("Mean", "Sum"))
# So it is in a product with a matrix, since every element is multiplied: also 0 by inf.
_PRODUCTS: Final = frozenset(("BatchMatMulV2", "Einsum", "MatMul"))


class Moments(NamedTuple):
    """Mean and variance of a tensor over some of its axes, which the step has anyway."""

    mean: Any
    variance: Any


@dataclass
class Proofs:
    """What is known of tensors without a pass over them; keys are ids of tensors.

    Attributes:
        moments: of the tensors whose sum of squares follows from them.
        implied: the tensors that are finite in every step in which the sums of all
            others stay within `PROOF_LIMIT`, and those of the guards in `GUARD_LIMIT`.
        guards: small tensors that no probe stands for, but a proof rests on.
        made: the operations that make implied tensors, and what lies between them and
            tensors that are summed; by the ids of what they make. Holds those alone
            that `recompute` can make again.
        merged: ids of the tensors that TensorFlow may make together with what takes them.
    """

    moments: dict[int, Moments] = field(default_factory=dict)
    implied: set[int] = field(default_factory=set)
    guards: list[Any] = field(default_factory=list)
    made: dict[int, Any] = field(default_factory=dict)
    merged: frozenset[int] = frozenset()


def half_sum_by_moments(tensor: Any, moments: Moments) -> Any:
    """Returns half the sum of squares as a float32 scalar, from mean and variance.

    Where an element is not finite, neither is its mean.
    """
    mean, variance = moments
    each = tf.cast(tf.size(tensor, tf.int64) // tf.size(mean, tf.int64), mean.dtype)
    halves = 0.5 * tf.reduce_sum(variance) + tf.nn.l2_loss(mean)
    return tf.cast(each * halves, tf.float32)


def prove(found: Iterable[Found], merged: frozenset[int] = frozenset()) -> Proofs:
    """Returns what the graph proves of the large tensors among `found`.

    Args:
        found: all that was met of the step so far, in one graph.
        merged: what an earlier proof of the same step has found to be `merged`. The sums
            that were added since then take such a tensor, too, and change nothing in that.
    """
    proofs = Proofs()
    if tf.executing_eagerly():
        return proofs
    watched = {id(f.tensor): f for f in found if f.tensor.dtype.is_floating}
    outputs = {key: f.tensor for key, f in watched.items() if f.kind in _KINDS}
    merged |= {key for key, tensor in outputs.items() if _is_merged(tensor)}
    proofs.merged = merged
    large = {
        key: tensor
        for key, tensor in outputs.items()
        if key in merged or _elements(tensor) >= LARGE
    }
    for key, tensor in large.items():
        moments = _moments(tensor)
        if moments is not None:
            proofs.moments[key] = moments
    summed = watched.keys() - large.keys() | proofs.moments.keys()
    bounds = _Bounds([watched[key].tensor for key in summed])
    for key, tensor in large.items():
        if key in proofs.moments:
            continue
        if bounds.prove(tensor, contracts=key in merged) or spreads(
            tensor, proofs.moments
        ):
            proofs.implied.add(key)
        else:
            bounds.add_summed(tensor)
    slots = [f.tensor for f in watched.values() if f.kind == "optimizer"]
    weights = [f.tensor for f in watched.values() if f.kind == "weight"]
    proofs.implied |= carried(slots, weights, bounds.of)
    proofs.guards = list(bounds.guards.values())
    proofs.made = those_that_can(bounds.made)
    return proofs


def _is_merged(tensor: Any) -> bool:
    """Returns whether TensorFlow may make a tensor together with what takes it alone.

    A constant factor moves down a tree of products, as that of a dropout does.
    """
    takers = tensor.consumers()
    if len(takers) != 1:
        return False
    (taker,) = takers
    if _source(tensor).op.type == taker.type == "Mul":
        return any(_magnitudes(t) is not None for t in taker.inputs)
    return taker.type in _MERGED


def _elements(tensor: Any) -> float:
    """Returns the elements of one example; infinite where the shape does not tell."""
    if tensor.shape.rank is None:
        return math.inf
    return math.prod(math.inf if d is None else d for d in list(tensor.shape)[1:])


def _moments(tensor: Any) -> Moments | None:
    """Returns mean and variance of a tensor, where the step computes both."""
    for x in (tensor, *_casts(tensor)):
        means = {
            id(op.outputs[0]): (op.outputs[0], axes)
            for op in _consumers(x, "Mean")
            if (axes := tf.get_static_value(op.inputs[1])) is not None
        }
        for difference in _consumers(x, "SquaredDifference"):
            others = [id(_source(t)) for t in difference.inputs if t is not x]
            if len(others) != 1 or others[0] not in means:
                continue
            mean, axes = means[others[0]]
            for op in _consumers(difference.outputs[0], "Mean"):
                if np.array_equal(
                    np.asarray(tf.get_static_value(op.inputs[1])), np.asarray(axes)
                ):
                    return Moments(mean, op.outputs[0])
    return None


def _casts(tensor: Any) -> list[Any]:
    """Returns the tensor in wider dtypes, as the step has it."""
    casts = [op.outputs[0] for op in _consumers(tensor, "Cast")]
    return [c for c in casts if c.dtype.is_floating and c.dtype.size > tensor.dtype.size]


def _source(tensor: Any) -> Any:
    while tensor.op.type in ("Identity", "IdentityN", "StopGradient"):
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def _consumers(tensor: Any, kind: str) -> list[Any]:
    return [op for op in tensor.consumers() if op.type == kind]


def spreads(tensor: Any, summed: Container[int]) -> bool:
    """Returns whether a summed tensor is not finite wherever this one is not.

    Args:
        tensor: of the graph.
        summed: ids of the tensors whose sums are taken.
    """
    waiting, seen = deque([tensor]), 0
    while waiting and seen < _MAX_STEPS:
        x = waiting.popleft()  # what is near first: the gradients' operations are many
        for op in x.consumers():
            seen += 1
            if not _spreads_through(op, x):
                continue
            result = op.outputs[0]
            if id(result) in summed:
                return True
            waiting.append(result)
    return False


def _spreads_through(op: Any, x: Any) -> bool:
    """Returns whether `op` has a result that is not finite wherever `x` is not."""
    if not op.outputs:
        return False
    result = op.outputs[0]
    if op.type == "Einsum":
        return _multiplies_each(op, x)
    if op.type in _PRODUCTS:
        others = [t for t in op.inputs if t is not x]
        return (
            bool(others)
            and others[0].shape.is_fully_defined()
            and 0 not in others[0].shape
            and not has_zero(others[0])
        )
    if op.type in _REDUCES:
        return op.inputs[0] is x
    if op.type == "DivNoNan":
        return op.inputs[0] is x and _counts(op.inputs[1], x)
    if op.type not in _SPREADS or not result.dtype.is_floating:
        return False
    if op.type == "Mul":
        # What is multiplied by a constant zero may never be computed.
        return same_shape(result, x) and not any(has_zero(t) for t in op.inputs)
    # An input that is broadcast could meet a result without elements.
    if op.type in ("Reshape", "Transpose"):
        return op.inputs[0] is x
    return same_shape(result, x)


def _multiplies_each(op: Any, x: Any) -> bool:
    """Returns whether an einsum of two multiplies each element of `x`, for some result."""
    if len(op.inputs) != 2 or op.inputs[0] is op.inputs[1]:
        return False
    of_inputs = op.get_attr("equation").decode().partition("->")[0].split(",")
    at = 0 if op.inputs[0] is x else 1
    mine, others = of_inputs[at], of_inputs[1 - at]
    other = op.inputs[1 - at]
    # A letter twice takes a diagonal; dots may stand for dimensions of any size.
    if len(set(mine)) < len(mine) or "." in mine + others or other.shape.rank is None:
        return False
    if has_zero(other):  # what is multiplied by it may never be computed
        return False
    # Of what both have, there is as much in one as in the other.
    sizes = zip(others, list(other.shape), strict=True)
    return all(size for letter, size in sizes if letter not in mine)


def _counts(number: Any, total: Any) -> bool:
    """Returns whether a number is zero only where nothing was summed up to `total`."""
    number, total = _source(number), _source(total)
    value = tf.get_static_value(number)
    if value is not None:
        return bool(np.all(value))
    while number.op.type == "Cast":
        number = number.op.inputs[0]
    if number.op.type != "Prod" or total.op.type not in _REDUCES:
        return False
    sizes = [number.op.inputs[0]]
    while sizes:
        size = sizes.pop()
        if size.op.type == "Shape":
            if size.op.inputs[0] is not total.op.inputs[0]:
                return False
        elif size.op.type in ("Pack", "StridedSlice"):
            sizes += (
                size.op.inputs[:1] if size.op.type == "StridedSlice" else size.op.inputs
            )
        elif not np.all(tf.get_static_value(size)):
            return False
    return True


def _magnitudes(tensor: Any) -> Any:
    """Returns the magnitudes in a constant as float64; None where it is none."""
    while tensor.op.type == "Cast":  # Python's numbers come as float32
        tensor = tensor.op.inputs[0]
    if tensor.op.type != "Const":
        return None
    return np.abs(tf.get_static_value(tensor).astype(np.float64))


def _smallest(tensor: Any) -> float:
    """Returns the least magnitude in a constant, at most 1; 0 where it is no finite one."""
    values = _magnitudes(tensor)
    if values is None or not np.isfinite(values).all():
        return 0.0
    return float(np.min(values, initial=1.0))


def _is_guard(tensor: Any, large: Any) -> bool:
    """Returns whether a tensor is broadcast to a much larger one's shape."""
    if tensor.shape.rank is None or large.shape.rank is None:
        return False
    dims, into = list(tensor.shape)[::-1], list(large.shape)[::-1]
    times = 1
    for i, size in enumerate(into):
        if i >= len(dims) or dims[i] == 1:
            times *= _TIMES_LARGER if size is None else size
        elif dims[i] != size:
            return False
    return len(dims) <= len(into) and times >= _TIMES_LARGER


class _Bounds:
    """How large the elements of tensors can be at most, as powers of two.

    Args:
        summed: tensors whose sums are taken.
    """

    def __init__(self, summed: Iterable[Any]) -> None:
        self._bits: dict[int, float] = {}
        self.guards: dict[int, Any] = {}
        # The operations of what was proved.
        self.made: dict[int, Any] = {}
        self._new: dict[int, Any] = {}
        self._via: dict[int, Any] = {}
        self._tried: dict[int, float | None] = {}
        self._contracts = False
        for tensor in summed:
            self.add_summed(tensor)

    def add_summed(self, tensor: Any) -> None:
        """Says that the sum of a tensor is taken."""
        self._bits[id(tensor)] = min(_SUM_BITS, _FINITE_BITS[tensor.dtype.name])

    def prove(self, tensor: Any, *, contracts: bool) -> bool:
        """Returns whether a tensor is finite where the summed ones and the guards are.

        Args:
            tensor: of the graph.
            contracts: bounds products too, from sums over the weights.
        """
        self._new, self._via, self._tried = {}, {}, {}
        self._contracts = contracts
        bits = self._by_operation(tensor, tensor, 0)
        if bits is None:
            return False
        self._bits[id(tensor)] = bits
        self.guards.update(self._new)
        self.made.update(self._via)
        return True

    def of(self, tensor: Any) -> float | None:
        """Returns the bits of any tensor that needs no guards; None where unknown."""
        self._new, self._via, self._tried = {}, {}, {}
        self._contracts = False
        bits = self._of(tensor, tensor, 0)
        return None if self._new else bits

    def _of(self, tensor: Any, large: Any, depth: int) -> float | None:
        """Returns the bits of a tensor of which `large` is made; None where unknown."""
        if id(tensor) in self._bits:
            return self._bits[id(tensor)]
        if not tensor.dtype.is_floating:
            known = tensor.dtype.is_integer or tensor.dtype.is_bool
            return _INTEGER_BITS if known else None
        values = _magnitudes(tensor)
        if values is not None:
            largest = float(np.max(values, initial=1.0))
            return math.log2(largest) if math.isfinite(largest) else None
        if _is_guard(tensor, large) or (
            self._contracts and tensor.op.type == "ReadVariableOp"
        ):
            self._new[id(tensor)] = tensor
            return min(_GUARD_BITS, _FINITE_BITS[tensor.dtype.name])
        if id(tensor) not in self._tried:
            self._tried[id(tensor)] = self._by_operation(tensor, large, depth)
        return self._tried[id(tensor)]

    def _by_operation(self, tensor: Any, large: Any, depth: int) -> float | None:
        op = tensor.op
        inputs = self._inputs(tensor)
        if inputs is None or depth > _MAX_DEPTH or tensor.dtype.name not in _FINITE_BITS:
            return None
        parts = [self._of(t, large, depth + 1) for t in inputs]
        if None in parts:
            return None
        result = _bits_of(op, [max(0.0, part) for part in parts if part is not None])
        if result is None or result > _FINITE_BITS[tensor.dtype.name]:
            return None
        self._via[id(tensor)] = op
        return result

    def _inputs(self, tensor: Any) -> list[Any] | None:
        """Returns the inputs that the elements of an operation's result are made of."""
        op = tensor.op
        inputs = list(op.inputs)
        if op.type == "IdentityN":  # a function with a gradient of its own has one
            return [inputs[tensor.value_index]]
        if op.type in _OF_ONE:
            return inputs[:1]
        if op.type == "ConcatV2":
            return inputs[:-1]
        if op.type in _ADDS or op.type in ("AddN", "Maximum", "Minimum", "Mul", "Pack"):
            return inputs
        if op.type == "RealDiv" and _smallest(inputs[1]) > 0:
            return inputs[:1]
        if self._contracts and op.type in _CONTRACTIONS:
            return inputs
        return None


# The bits of a result by those of the inputs, of operations with one rule each.
_RULES: Final[dict[str, Callable[[list[float]], float]]] = {
    **dict.fromkeys(_SQUASHES, lambda bits: 1.0),
    **dict.fromkeys(_ADDS, lambda bits: max(bits) + 1),
    **dict.fromkeys(_SOFTENS, lambda bits: bits[0] + 1),
    "AddN": lambda bits: max(bits) + math.log2(len(bits)),
    "Mul": sum,
    "Square": lambda bits: 2 * bits[0],
}


def _bits_of(op: Any, bits: list[float]) -> float | None:
    """Returns the bits of what an operation makes of inputs of so many."""
    if op.type == "RealDiv":
        return bits[0] - math.log2(_smallest(op.inputs[1]))
    if op.type in _CONTRACTIONS:
        weights = op.inputs[1].shape
        if not weights.is_fully_defined():
            return None
        return sum(bits) + math.log2(max(1, weights.num_elements()))
    return _RULES.get(op.type, max)(bits)
