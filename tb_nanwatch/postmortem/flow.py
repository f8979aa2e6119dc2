# SPDX-License-Identifier: Apache-2.0
"""The flow of non-finite values through one step, and where it began. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tb_nanwatch.postmortem.source import Place
from tb_nanwatch.record.schema import Operand


@dataclass(frozen=True)
class Counts:
    """Non-finite elements of one tensor."""

    nan: int = 0
    pos_inf: int = 0
    neg_inf: int = 0

    def __bool__(self) -> bool:
        return bool(self.nan or self.pos_inf or self.neg_inf)


@dataclass
class Details:
    """Measurements of an operation whose result may be the first bad one."""

    inputs: list[Operand]
    finding: str
    size: int
    shape: list[int]
    dtype: str
    rows: list[int]


@dataclass
class Op:
    """One operation that ran.

    Attributes:
        index: its place in the order in which they ran.
        op_type: TensorFlow's type.
        inputs, outputs: ids of its tensors. bad: counts of those that are non-finite.
        sources: ids of the inputs from which a non-finite value may have come.
        constants: whether one of these is a constant.
        place: the innermost line of the user's code.
        layer, owner: as in `schema.PostMortem`.
        forward: the operation whose gradient this one is part of.
        gradient: it ran in the backward pass.
        details: where the output is non-finite.
    """

    index: int
    op_type: str
    inputs: list[int]
    outputs: list[int]
    bad: dict[int, Counts]
    sources: list[int]
    place: Place | None = None
    layer: str = ""
    owner: str = ""
    forward: Op | None = None
    gradient: bool = False
    constants: bool = False
    details: Details | None = None


@dataclass
class Flow:
    """The tensors of one step: their makers, names and non-finite counts.

    Attributes:
        maker: the operation that made a tensor, by the tensor's id.
        alias: for tensors read from a variable, by id: the tensor that was written to it.
        counts: of every non-finite tensor.
        data: names of the batch's tensors. held: those of variables from before.
        read: names of variables by the tensor that was read, where no step had written it.
        opaque: tensors that hold no real numbers, such as shapes.
        random: types of operations that drew random numbers from a state of their own.
    """

    maker: dict[int, Op] = field(default_factory=dict)
    counts: dict[int, Counts] = field(default_factory=dict)
    data: dict[int, str] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)
    read: dict[int, str] = field(default_factory=dict)
    opaque: set[int] = field(default_factory=set)
    random: set[str] = field(default_factory=set)


@dataclass
class BadOrigin:
    """The source of a tensor's non-finite values; one of the fields is set.

    Attributes:
        op: the first operation whose inputs were finite, or (`infinities`) which made
            NaN of infinities, or (`constant`) which took in a non-finite constant.
        data: ids of data that were non-finite themselves.
        held: names of variables that were non-finite before the step.
    """

    op: Op | None = None
    infinities: bool = False
    constant: bool = False
    data: list[int] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def upstream(flow: Flow, tensor: int) -> BadOrigin:
    """Returns where the non-finite values of `tensor` came from."""
    ops, data, held = _ancestors(flow, tensor)
    first = _first(op for op in ops if not op.sources)
    if first is not None:
        return BadOrigin(first)
    if data or held:
        return BadOrigin(data=data, held=held)
    if flow.counts.get(tensor, Counts()).nan:
        # A constant of minus infinity is often meant so; what makes NaN of it is not.
        made_nan = _first(
            op
            for op in ops
            if any(c.nan for c in op.bad.values())
            and not any(flow.counts.get(s, Counts()).nan for s in op.sources)
        )
        if made_nan is not None:
            return BadOrigin(made_nan, infinities=True)
    constant = _first(op for op in ops if op.constants)
    return BadOrigin(constant, constant=constant is not None)


def _ancestors(flow: Flow, tensor: int) -> tuple[list[Op], list[int], list[str]]:
    """Returns the operations, data and variables on the path of the non-finite values."""
    ops: dict[int, Op] = {}
    data: dict[int, None] = {}
    held: dict[str, None] = {}
    waiting, seen = [tensor], {tensor}
    while waiting:
        at = waiting.pop()
        if at in flow.data:
            data[at] = None
        elif at in flow.held:
            held[flow.held[at]] = None
        elif (op := flow.maker.get(at)) is not None:
            ops[op.index] = op
            new = [source for source in op.sources if source not in seen]
            seen.update(new)
            waiting += new
    return list(ops.values()), list(data), list(held)


def _first(ops: Iterable[Op]) -> Op | None:
    return min(ops, key=lambda op: op.index, default=None)
