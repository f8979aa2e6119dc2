# SPDX-License-Identifier: Apache-2.0
"""A traced step run equation by equation: where its non-finite values began."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from tb_nanwatch.compat import jax as private
from tb_nanwatch.postmortem import operations as known
from tb_nanwatch.postmortem.chain import Ran
from tb_nanwatch.postmortem.counting import bad_rows, count
from tb_nanwatch.postmortem.flow import Counts, Details, Flow, Op
from tb_nanwatch.postmortem.source import Place, is_users
from tb_nanwatch.writing.backends.afterwards import LimitError
from tb_nanwatch.writing.backends.jax.operations import CALLS, WITH_DOMAINS, type_of

_Frames = list[tuple[CodeType, int]]


@dataclass
class _Value:
    """A value of the step: its number in the flow, and the array."""

    number: int
    array: Any


@dataclass
class _Forward:
    """An equation of the forward pass, by which a derivative finds its operation."""

    op: Op
    frames: _Frames


@dataclass
class Interpreter:
    """Runs a step on arrays and notes where values stop being finite.

    Args:
        within: code of the function that traces the step: the user's stack ends there.
        seconds: that it may take.
        wanted: numbers of operations whose values are kept.

    Attributes:
        kept: the operations that are wanted, by number.
    """

    within: CodeType
    seconds: float
    wanted: Set[int] = frozenset()
    kept: dict[int, Ran] = field(default_factory=dict)
    flow: Flow = field(default_factory=Flow)
    forward: list[_Forward] = field(default_factory=list)
    # By an operation's index the number of the step's equation that it is part of.
    equation_of: dict[int, int] = field(default_factory=dict)
    _equation: int = 0
    _number: int = 0
    _index: int = 0
    _began: float = field(default_factory=time.monotonic)

    def value(self, array: Any) -> _Value:
        """Returns a value that no operation of the step makes."""
        self._number += 1
        found = _Value(self._number, array)
        self._count(found)
        return found

    def _count(self, value: _Value) -> None:
        # A key of random numbers is none, nor has it any.
        if not jnp.issubdtype(jnp.result_type(value.array), jnp.inexact):
            return
        array = np.asarray(value.array)
        if array.dtype.kind == "V":  # bfloat16 and smaller
            array = array.astype(np.float32)
        counts = count(array)
        if counts:
            self.flow.counts[value.number] = counts

    def run(
        self,
        jaxpr: Any,
        consts: Sequence[_Value],
        values: Sequence[_Value],
        *,
        needed: set[int] | None = None,
        forward: set[int] | None = None,
        around: _Frames | None = None,
        is_forward: bool = True,
    ) -> list[_Value]:
        """Runs a function's equations.

        Args:
            jaxpr: the function.
            consts, values: what it is given.
            needed: numbers of the equations to run; None for all.
            forward: numbers of those that belong to the forward pass; None where
                `is_forward` tells for all.
            around: frames of the call, where it is one within the step.
            is_forward: see `forward`.

        Raises:
            LimitError: it took too long.
        """
        known_values: dict[Any, _Value] = dict(
            zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *values], strict=True)
        )

        def read(variable: Any) -> _Value:
            if isinstance(variable, core.Literal):
                return self.value(variable.val)
            return known_values[variable]

        for n, equation in enumerate(jaxpr.eqns):
            if needed is not None and n not in needed:
                continue
            if time.monotonic() - self._began > self.seconds:
                raise LimitError(f"it took more than {self.seconds:.0f} s")
            if around is None:
                self._equation = n
            inputs = [read(v) for v in equation.invars]
            mine = is_forward if forward is None else n in forward
            frames = self._frames(equation, around)
            inner = equation.params.get(CALLS.get(equation.primitive.name, ""))
            if inner is not None:
                outputs = self._call(inner, inputs, frames, mine)
            else:
                arrays = private.run_equation(equation, [v.array for v in inputs])
                outputs = [self._made(a) for a in arrays]
                self._note(equation, inputs, outputs, frames, mine)
            known_values.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _call(
        self, inner: Any, inputs: list[_Value], frames: _Frames, is_forward: bool
    ) -> list[_Value]:
        jaxpr = getattr(inner, "jaxpr", inner)
        consts = [self.value(c) for c in getattr(inner, "consts", ())]
        return self.run(jaxpr, consts, inputs, around=frames, is_forward=is_forward)

    def _made(self, array: Any) -> _Value:
        self._number += 1
        found = _Value(self._number, array)
        self._count(found)
        return found

    def _frames(self, equation: Any, around: _Frames | None) -> _Frames:
        """Returns the frames of an equation within the step, the innermost first.

        Of a function that is traced by itself JAX knows the frames from that function
        on: where it is called stands around them.
        """
        frames = private.frames_of(equation)
        cut = next((i for i, (code, _) in enumerate(frames) if code is self.within), None)
        return [*frames[:cut], *(around or ())]

    def _note(
        self,
        equation: Any,
        inputs: list[_Value],
        outputs: list[_Value],
        frames: _Frames,
        is_forward: bool,
    ) -> None:
        """Notes one operation that has run."""
        flow = self.flow
        self._index += 1
        self.equation_of[self._index] = self._equation
        bad = {
            v.number: flow.counts[v.number] for v in outputs if v.number in flow.counts
        }
        op_type, inputs, others = _as_known(equation, inputs, outputs)
        users = [(c, i) for c, i in frames if is_users(c.co_filename)]
        place = None
        if users:
            code, instruction = users[0]
            place = Place(code, private.line_of(code, instruction), instruction)
        op = Op(
            self._index,
            op_type,
            [v.number for v in inputs],
            [v.number for v in outputs],
            bad,
            [v.number for v in inputs if v.number in flow.counts],
            place=place,
            gradient=not is_forward,
            constants=any(
                v.number in flow.counts
                and v.number not in flow.maker
                and v.number not in flow.data
                and v.number not in flow.held
                for v in inputs
            ),
        )
        for v in outputs:
            flow.maker[v.number] = op
        if op.index in self.wanted:
            taken = [_readable(v.array) for v in inputs]
            made = [_readable(v.array) for v in outputs]
            self.kept[op.index] = Ran(op_type, [*taken, *others], made)
        if is_forward:
            self.forward.append(_Forward(op, frames))
        elif bad:
            op.forward = self._forward_of(frames)
        if bad:
            op.details = _details(op_type, inputs, outputs, bad)

    def _forward_of(self, frames: _Frames) -> Op | None:
        """Returns the operation whose derivative was traced with these frames.

        The frames of JAX itself differ; those of Keras and of the user do not.
        """
        mine = _outside_of_jax(frames)
        same = [f.op for f in self.forward if _outside_of_jax(f.frames) == mine]
        risky = [op for op in same if op.op_type in WITH_DOMAINS]
        return (risky or same or [None])[-1]  # type: ignore[list-item]


def _outside_of_jax(frames: _Frames) -> _Frames:
    return [f for f in frames if "/jax/" not in f[0].co_filename.replace("\\", "/")]


def _details(
    op_type: str, inputs: list[_Value], outputs: list[_Value], bad: dict[int, Counts]
) -> Details:
    first = next(v for v in outputs if v.number in bad)
    arrays = [_readable(v.array) for v in inputs]
    arrays = [a for a in arrays if a is not None]
    result = np.asarray(first.array)
    dtype = str(result.dtype)
    if result.dtype.kind == "V":
        result = result.astype(np.float32)
    return Details(
        known.measure(op_type, arrays),
        known.finding(op_type, arrays, dtype),
        int(result.size),
        list(result.shape),
        dtype,
        bad_rows(result),
    )


def _as_known(
    equation: Any, inputs: list[_Value], outputs: list[_Value]
) -> tuple[str, list[_Value], list[Any]]:
    """Returns type, inputs and what else an operation takes, as TensorFlow's type has it."""
    op_type = type_of(equation.primitive.name)
    params, others = equation.params, []
    if (
        op_type == "SelectV2" and len(inputs) == 3
    ):  # what is taken where it is false first
        inputs = [inputs[0], inputs[2], inputs[1]]
    elif op_type == "ConcatV2":
        others = [np.asarray(params["dimension"])]
    elif op_type == "Transpose":
        others = [np.asarray(params["permutation"])]
    elif op_type == "Pow" and len(inputs) == 1:
        others = [np.asarray(params["y"])]
    elif op_type == "BroadcastTo":
        array, shape = inputs[0].array, tuple(np.shape(outputs[0].array))
        if np.size(array) == math.prod(shape):
            op_type = "ExpandDims"
        elif tuple(params["broadcast_dimensions"]) != tuple(
            range(len(shape) - np.ndim(array), len(shape))
        ):
            op_type = (
                "Tile"  # not along its last dimensions: of which element is not sure
            )
    return op_type, inputs, others


def _readable(array: Any) -> Any:
    try:
        array = np.asarray(array)
        return array.astype(np.float32) if array.dtype.kind == "V" else array
    except TypeError:  # a key of random numbers
        return None


def needed_for(jaxpr: Any, outputs: Sequence[Any]) -> set[int]:
    """Returns the numbers of the equations on which some variables depend."""
    wanted = {v for v in outputs if not isinstance(v, core.Literal)}
    found: set[int] = set()
    for n in range(len(jaxpr.eqns) - 1, -1, -1):
        equation = jaxpr.eqns[n]
        if any(v in wanted for v in equation.outvars):
            found.add(n)
            wanted.update(v for v in equation.invars if not isinstance(v, core.Literal))
    return found
