# SPDX-License-Identifier: Apache-2.0
"""Traces the input of the first bad operation back to its source. Pure: NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.postmortem import operations
from tb_nanwatch.postmortem.flow import Flow, Op
from tb_nanwatch.record.schema import Link

Array = npt.NDArray[Any]
# Index of one element, None where no single one is meant.
Position = tuple[int, ...] | None

# Operations before the first bad one that are looked at, the nearest first.
MAX_OPS: Final = 64
# Most links of a chain: beyond these it explains no more.
_MAX_LINKS: Final = 4
# One operand makes the result where the other is so many times smaller.
_DOMINATES: Final = 100.0

# The result is made of elements of the input, none of them changed.
_MOVES: Final = frozenset(
    "BroadcastTo Cast ConcatV2 ExpandDims GatherNd GatherV2 Identity IdentityN Pack Pad "
    "PadV2 Reshape ReverseV2 Slice Snapshot Squeeze StopGradient StridedSlice Tile "
    "Transpose".split()
)
_SAME_ORDER: Final = frozenset(
    "Cast ExpandDims Identity IdentityN Reshape Snapshot Squeeze StopGradient".split()
)
_UNARY: Final = frozenset(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Digamma Elu Erf Erfc Erfinv Exp "
    "Expm1 Floor Inv LeakyRelu Lgamma Log Log1p Ndtri Neg Reciprocal Relu Relu6 Rint "
    "Round Rsqrt Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Square Tan "
    "Tanh".split()
)
_BINARY: Final = frozenset(
    "Add AddV2 Atan2 Div DivNoNan FloorDiv FloorMod Maximum Minimum Mul MulNoNan Pow "
    "RealDiv ReciprocalGrad ReluGrad RsqrtGrad SigmoidGrad SqrtGrad SquaredDifference "
    "Sub TanhGrad Xdivy Xlog1py Xlogy".split()
)
_CHOICES: Final = ("SelectV2", "Select")
# An element of a row depends only on the same row of the input.
_BY_ROW: Final = frozenset(
    "BiasAdd EuclideanNorm L2Loss LogSoftmax Max Mean Min Prod Softmax Sum".split()
)
_WEIGHING: Final = frozenset(
    "Add AddV2 BatchMatMulV2 BatchMatMulV3 BiasAdd Conv1D Conv2D Conv3D "
    "DepthwiseConv2dNative Einsum FusedBatchNormV3 MatMul".split()
)
_KEEP_ROWS: Final = _UNARY | _BINARY | _BY_ROW | {*_CHOICES}
_SUMS: Final = ("Add", "AddV2", "Sub", "BiasAdd")
_PRODUCTS: Final = ("Mul", "MulNoNan")
_QUOTIENTS: Final = ("RealDiv", "Div", "DivNoNan")
_BOUNDS: Final = ("Maximum", "Minimum")


@dataclass(frozen=True)
class Ran:
    """An operation that ran, with its values.

    Attributes:
        op_type: TensorFlow's type.
        inputs: arrays; None for an input that is not an array, such as a variable's handle.
        outputs: the same.
    """

    op_type: str
    inputs: list[Array | None]
    outputs: list[Array | None]


@dataclass(frozen=True)
class Chain:
    """Links from the first bad operation on, and which of its inputs the first is."""

    links: list[Link]
    operand: int


def ancestors(flow: Flow, op: Op) -> set[int]:
    """Returns the numbers of an operation and of all operations that its inputs depend on."""
    found, waiting = {op.index}, [op]
    while waiting and len(found) < MAX_OPS:
        for source in waiting.pop(0).inputs:
            maker = flow.maker.get(source)
            if maker is not None and maker.index not in found:
                found.add(maker.index)
                waiting.append(maker)
    return found


def follow(
    flow: Flow,
    op: Op,
    ran: Mapping[int, Ran],
    variables: Sequence[tuple[str, Array]],
    rows: int,
    *,
    public_name: Callable[[str], str] = operations.public_name,
    data: Mapping[int, Array] | None = None,
) -> Chain | None:
    """Returns where the input came from that made the result of `op` bad.

    Args:
        flow: of the step.
        op: the first bad operation.
        ran: operations of the same step, by number.
        variables: path and value from before the step.
        rows: of the batch, 0 where that is unknown.
        public_name: returns the name under which users call an operation of a type.
        data: the batch's arrays, by id; needed where an array can be a view of another
            one with the same id.
    """
    at = ran.get(op.index)
    if at is None:
        return None
    follower = _Follower(flow, ran, variables, rows, public_name, data or {})
    position = first_bad(at)
    operand = _of_bad(at, position)
    if operand is None:
        return None
    links = list(follower.links(op, at, operand, position))
    return Chain(links, operand) if links else None


class _Follower:
    def __init__(
        self,
        flow: Flow,
        ran: Mapping[int, Ran],
        variables: Sequence[tuple[str, Array]],
        rows: int,
        public_name: Callable[[str], str],
        data: Mapping[int, Array],
    ) -> None:
        self._flow, self._ran, self._rows = flow, ran, rows
        self._variables, self._public_name, self._data = variables, public_name, data

    def links(
        self, op: Op, at: Ran, operand: int | None, position: Position
    ) -> Iterator[Link]:
        """Yields a link for each operation on the way back, until the source is unknown."""
        row = self._row(at.outputs[0], position)
        count = 0
        while operand is not None and count < _MAX_LINKS:
            array = at.inputs[operand]
            if array is None:
                return
            position = _inside(at, operand, position) or _not_finite(array)
            if at.op_type not in _KEEP_ROWS:
                row = -1
            name = operations.operand_name(at.op_type, operand, len(at.inputs))
            tensor = op.inputs[operand]
            # Operations that only move values are not links of their own.
            moved = self._before_moves(tensor, array, position)
            tensor, array, position = moved
            if tensor in self._data:
                position = _within([self._data[tensor]], array, position)
                array = self._data[tensor]
            row = self._row(array, position, row)
            link = _measured(name, array, position, row)
            self._say_origin(link, tensor, array, position)
            maker = self._flow.maker.get(tensor)
            following = self._ran.get(maker.index) if maker is not None else None
            if following is not None:
                position = _within(following.outputs, array, position)
                link.operands = _taken(following, position)
            if count and link.origin == "constant" and at.op_type in _BINARY:
                return  # reported with the other operand already
            yield link
            count += 1
            if maker is None or following is None or _is_of_weights(maker):
                return
            op, at = maker, following
            operand = self._of_value(op, at, position)

    def _row(self, array: Array | None, position: Position, row: int = -1) -> int:
        """Returns the row of the batch, -1 where the tensor has none."""
        if array is None or not self._rows or array.shape[:1] != (self._rows,):
            return -1
        return position[0] if position else row

    def _before_moves(
        self, tensor: int, array: Array, position: Position
    ) -> tuple[int, Array, Position]:
        for _ in range(MAX_OPS):
            maker = self._flow.maker.get(tensor)
            at = self._ran.get(maker.index) if maker is not None else None
            if maker is None or at is None or at.op_type not in _MOVES:
                break
            found = _moved(at, array, position)
            if found is None:
                break
            operand, position = found
            source = at.inputs[operand]
            assert source is not None
            tensor, array = maker.inputs[operand], source
        return tensor, array, position

    def _say_origin(
        self, link: Link, tensor: int, array: Array, position: Position
    ) -> None:
        flow = self._flow
        maker = flow.maker.get(tensor)
        if tensor in flow.data:
            link.origin, link.name = "data", flow.data[tensor]
            link.column = list(position[1:]) if position and link.row >= 0 else []
        elif maker is not None:
            forward = maker.forward if maker.gradient and maker.forward else maker
            link.origin = "operation"
            link.name = self._public_name(maker.op_type)
            link.layer = forward.layer
            link.source = maker.place.resolve() if maker.place is not None else None
        elif tensor in flow.read:
            link.origin, link.name = "variable", flow.read[tensor]
        elif tensor not in flow.opaque:
            path = self._variable(array)
            link.origin = "variable" if path else "constant"
            link.name = path

    def _variable(self, array: Array) -> str:
        """Returns the variable that holds exactly these values, "" for none."""
        if array.size < 2:  # a number may equal any other
            return ""
        for path, value in self._variables:
            if value.dtype == array.dtype and np.array_equal(
                value, array, equal_nan=value.dtype.kind == "f"
            ):
                return path
        return ""

    def _of_value(self, op: Op, at: Ran, position: Position) -> int | None:
        """Returns the operand that decided a finite result, None where no single operand did."""
        if at.op_type in _UNARY or at.op_type in _BY_ROW - {"BiasAdd"}:
            return 0
        if at.op_type in _CHOICES:
            return _chosen(at, position)
        if len(at.inputs) != 2 or at.op_type not in (*_BINARY, "BiasAdd"):
            return None
        if position is not None and at.outputs[0] is not None:
            a, b = (_element(at, i, position) for i in (0, 1))
            result = float(operations.real(at.outputs[0])[position])
            dominant = _dominant(at.op_type, a, b, result)
            if dominant is not None:
                return dominant
        computed = [i for i, t in enumerate(op.inputs) if t in self._flow.maker]
        given = [i for i, t in enumerate(op.inputs) if t in self._flow.data]
        return (computed + given)[0] if len(computed + given) == 1 else None


def _is_of_weights(op: Op) -> bool:
    """Returns whether a Keras layer multiplies by its weights here, so that all elements count."""
    return bool(op.layer) and op.place is None and op.op_type in _WEIGHING


def _taken(at: Ran, position: Position) -> list[float]:
    """Returns the operands' values for one element of an element-wise operation, else []."""
    if position is None or at.op_type not in _UNARY | _BINARY:
        return []
    found = [_element(at, i, position) for i in range(len(at.inputs))]
    return [] if any(math.isnan(v) for v in found) else found


def _not_finite(array: Array) -> Position:
    """Returns where the first element is that is not finite, None where all are."""
    bad = ~np.isfinite(operations.real(array))
    return tuple(int(i) for i in np.argwhere(bad)[0]) if bad.any() else None


def _chosen(at: Ran, position: Position) -> int | None:
    """Returns the branch of a `where` that an element came from."""
    condition = at.inputs[0]
    if condition is None or position is None:
        return None
    inside = _broadcast(condition.shape, position)
    return None if inside is None else (1 if condition[inside] else 2)


def first_bad(at: Ran) -> Position:
    """Returns where the first element of the result is that is not finite."""
    for output in at.outputs:
        if output is None or output.dtype.kind not in "fcV":
            continue
        position = _not_finite(output)
        if position is not None:
            return position
    return None


def _of_bad(at: Ran, position: Position) -> int | None:
    """Returns the operand that made a result non-finite: one that is out of its domain."""
    numbers = [
        i
        for i, a in enumerate(at.inputs)
        if a is not None and a.size and _is_number(a) and not _is_axis(at.op_type, i)
    ]
    if not numbers:
        return None
    values = {i: _candidates(at, i, position) for i in numbers}
    for i in numbers:
        if not np.isfinite(values[i]).all():
            return i
    for operand in operations.out_of_domain(at.op_type, values):
        return operand
    if at.op_type == "Pow":
        return 0

    def size(i: int) -> float:
        return float(np.abs(values[i]).max())

    return max(numbers, key=size)


def _dominant(op_type: str, a: float, b: float, result: float) -> int | None:
    """Returns which of two operands decided the result, None where both did."""
    if op_type in _BOUNDS:
        return None if a == b else (0 if a == result else 1)
    if op_type in _PRODUCTS:
        if result == 0 and (a == 0) != (b == 0):
            return 0 if a == 0 else 1
        return None
    if op_type in _SUMS:
        small, large = sorted((abs(a), abs(b)))
        if large > _DOMINATES * small:
            return 0 if abs(a) == large else 1
        return None
    if op_type in _QUOTIENTS:
        return 0 if a == 0 else None
    return None


def _moved(at: Ran, array: Array, position: Position) -> tuple[int, Position] | None:
    """Returns which input a moved element came from, and where it was there."""
    floats = [i for i, a in enumerate(at.inputs) if a is not None and _is_number(a)]
    if at.op_type in ("ConcatV2", "Pack", "IdentityN"):
        if at.op_type == "ConcatV2":
            floats = floats[:-1]
        if position is None:
            return None
        found = [(i, _where(at.inputs[i], array[position])) for i in floats]
        holding = [(i, where) for i, where in found if where]
        if len(holding) != 1:
            return None
        i, where = holding[0]
        return i, where[0] if len(where) == 1 else None
    source = at.inputs[0]
    if source is None or not _is_number(source):
        return None
    if position is None:
        return 0, None
    if at.op_type in _SAME_ORDER and source.size == array.size:
        flat = np.ravel_multi_index(position, array.shape) if array.ndim else 0
        return 0, tuple(int(i) for i in np.unravel_index(flat, source.shape))
    if at.op_type == "BroadcastTo":
        return 0, _broadcast(source.shape, position)
    if at.op_type == "Transpose" and at.inputs[1] is not None:
        order = [int(i) for i in at.inputs[1]]
        return 0, tuple(position[order.index(i)] for i in range(len(order)))
    where = _where(source, array[position])
    return 0, where[0] if len(where) == 1 else None


def _within(results: Sequence[Array | None], view: Array, position: Position) -> Position:
    """Returns where an element of an array is in the result that the array is a view of.

    None where that is not sure: another element may hold the same value.
    """
    if position is None or any(r is not None and r.shape == view.shape for r in results):
        return position
    found = [where for result in results for where in _where(result, view[position])]
    return found[0] if len(found) == 1 else None


def _where(array: Array | None, value: Any) -> list[tuple[int, ...]]:
    """Returns at most two indices at which an array holds a value."""
    if array is None:
        return []
    same = (array == value) | (np.isnan(array) & np.isnan(value))
    return [tuple(int(i) for i in index) for index in np.argwhere(same)[:2]]


def _inside(at: Ran, operand: int, position: Position) -> Position:
    """Returns the position in an operand that an element of the result was computed from."""
    array = at.inputs[operand]
    if position is None or array is None:
        return None
    if at.op_type in _UNARY or at.op_type in _BINARY or at.op_type in _CHOICES:
        return _broadcast(array.shape, position)
    return None


def _broadcast(shape: tuple[int, ...], position: tuple[int, ...]) -> Position:
    if len(shape) > len(position):
        return None
    tail = position[len(position) - len(shape) :]
    return tuple(p if n > 1 else 0 for n, p in zip(shape, tail, strict=True))


def _candidates(at: Ran, operand: int, position: Position) -> Array:
    """Returns the operand's element at that position, or all its elements where it is unknown."""
    inside = _inside(at, operand, position)
    array = at.inputs[operand]
    assert array is not None
    values = operations.real(array)
    return values[inside].reshape(1) if inside is not None else values.reshape(-1)


def _element(at: Ran, operand: int, position: Position) -> float:
    inside = _inside(at, operand, position)
    array = at.inputs[operand]
    if array is None or inside is None:
        return math.nan
    return float(operations.real(array)[inside])


def _measured(name: str, array: Array, position: Position, row: int) -> Link:
    values = operations.real(array)
    link = Link(name, row=row)
    if position is not None:
        link.value = float(values[position])
    elif values.size == 1:
        link.value = float(values.reshape(()))
    around = values[row] if row >= 0 else values
    told = around[~np.isnan(around)]
    if told.size:
        link.low, link.high = float(told.min()), float(told.max())
    return link


def _is_axis(op_type: str, operand: int) -> bool:
    return operations.operand_name(op_type, operand, 2) == operations.AXES


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "fciuV" and not array.dtype.names
