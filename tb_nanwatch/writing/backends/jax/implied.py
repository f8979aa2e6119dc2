# SPDX-License-Identifier: Apache-2.0
"""Outputs of layers that need not be read, since what is made of them tells of them.

XLA makes an operation together with the one that takes its result (on a CPU a convolution
with the mean over its pixels, for one) only where nothing else takes it. Who reads the
result in between changes what is made together, and so how it is rounded. A sum, a
difference, a product is not finite wherever an operand is not: what went into one that is
read needs no sum of its own. The step that then stands out is looked at with all its
tensors, so that the first bad one is found as if it had been read.

Infinity must not end on the way: no maximum, no choice, no exponential, no divisor is
passed. Nor may the tensor that is read be infinite by design, as beside a mask of -inf:
nobody could see it go bad.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax.numpy as jnp
import numpy as np

from tb_nanwatch.compat import jax as private
from tb_nanwatch.record.schema import Kind
from tb_nanwatch.writing.backends.jax.operations import CALLS
from tb_nanwatch.writing.backends.tracing import Found

# What may be left unread, and what may tell of it. A gradient does not: it is infinite by
# design where a loss scale is tried. Nor does a state that, once bad, stays so.
_LEFT: Final[tuple[Kind, ...]] = ("activation", "prediction")
_TELLS: Final[tuple[Kind, ...]] = (*_LEFT, "loss")
# The result is not finite wherever an element of any operand is not.
_CARRY: Final = frozenset(
    (
        *("abs", "add", "add_any", "broadcast_in_dim", "concatenate", "copy", "copy_p"),
        *("dot_general", "expand_dims", "mul", "neg", "optimization_barrier"),
        *("reduce_precision", "reduce_sum", "reshape", "rev", "sqrt", "square"),
        *("squeeze", "stop_gradient", "sub", "transpose"),
    )
)
# Wherever one of the first is not.
_CARRY_THE_FIRST: Final = frozenset(("conv_general_dilated", "div", "pad"))
# They make no infinity of ordinary numbers by design.
_ORDINARY: Final = _CARRY | frozenset(
    (
        *(*_CARRY_THE_FIRST, "clamp", "convert_element_type", "cos", "cumsum"),
        *("dynamic_slice", "erf", "erfc", "exp", "expm1", "gather", "integer_pow"),
        *("logistic", "max", "min", "random_bits", "reduce_max", "reduce_min"),
        *("reduce_window_max", "reduce_window_sum", "rsqrt", "select_n"),
        *("sign", "sin", "slice", "split", "tanh"),
    )
)
# What is done with numbers while a function is traced.
_OF_NUMBERS: Final[dict[str, Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "gt": np.greater,
    "ge": np.greater_equal,
    "max": np.maximum,
}


@dataclass(frozen=True)
class _Made:
    """How a value is made.

    Attributes:
        name: of the primitive.
        params: its parameters.
        operands: numbers of other values.
        shape: of the value.
    """

    name: str
    params: Mapping[str, Any]
    operands: Sequence[int]
    shape: tuple[int, ...]


class _Graph:
    """A traced function with all that it calls: its values by number.

    Args:
        traced: the function, so far.
    """

    def __init__(self, traced: private.SoFar) -> None:
        # None is what a function is given.
        self._makers: list[_Made | None] = []
        self._shapes: list[tuple[int, ...]] = []
        self._inexact: list[bool] = []
        self._constants: dict[int, Any] = {}
        self._numbers: dict[Any, int] = {}
        self._known: dict[int, bool] = {}
        for variable, value in traced.constants.items():
            self._numbers[variable] = self._constant(value)
        self._add(traced.equations, self._numbers)

    def number(self, variable: Any) -> int | None:
        """Returns the number of a variable's value, None where it is none of these."""
        return self._numbers.get(variable)

    def _new(self, aval: Any, made: _Made | None) -> int:
        self._makers.append(made)
        self._shapes.append(tuple(getattr(aval, "shape", ())))
        dtype = getattr(aval, "dtype", None)
        self._inexact.append(dtype is not None and jnp.issubdtype(dtype, jnp.inexact))
        return len(self._makers) - 1

    def _constant(self, value: Any) -> int:
        number = self._new(value if hasattr(value, "dtype") else np.asarray(value), None)
        self._constants[number] = value
        return number

    def _of(self, atom: Any, numbers: dict[Any, int]) -> int:
        if hasattr(atom, "val"):  # a literal
            return self._constant(atom.val)
        if atom not in numbers:
            numbers[atom] = self._new(atom.aval, None)
        return numbers[atom]

    def _add(self, equations: Sequence[Any], numbers: dict[Any, int]) -> None:
        for equation in equations:
            name = equation.primitive.name
            operands = [self._of(atom, numbers) for atom in equation.invars]
            called = equation.params.get(CALLS.get(name, ""))
            if called is not None:
                results = self._call(called, operands)
                numbers.update(zip(equation.outvars, results, strict=True))
                continue
            known = self._without_operation(name, equation.params, operands)
            if known is not None:
                numbers[equation.outvars[0]] = known
                continue
            for variable in equation.outvars:
                shape = tuple(getattr(variable.aval, "shape", ()))
                made = _Made(name, equation.params, operands, shape)
                numbers[variable] = self._new(variable.aval, made)

    def _without_operation(
        self, name: str, params: Mapping[str, Any], operands: Sequence[int]
    ) -> int | None:
        """Returns the result of an operation of which the numbers in the code decide.

        So a variance says that it is NaN of no elements.
        """
        values = [self._constants[n] for n in operands if n in self._constants]
        if name == "select_n" and operands[0] in self._constants:
            which = np.asarray(values[0])
            return operands[1 + int(which)] if which.ndim == 0 else None
        if len(values) < len(operands) or any(np.ndim(v) for v in values):
            return None
        if name == "convert_element_type":
            return self._constant(np.asarray(values[0]).astype(params["new_dtype"]))
        if name in _OF_NUMBERS:
            return self._constant(_OF_NUMBERS[name](*values))
        return None

    def _call(self, called: Any, operands: Sequence[int]) -> list[int]:
        inner = getattr(called, "jaxpr", called)
        numbers = dict(zip(inner.invars, operands, strict=True))
        for variable, value in zip(
            inner.constvars, getattr(called, "consts", ()), strict=True
        ):
            numbers[variable] = self._constant(value)
        self._add(inner.eqns, numbers)
        return [self._of(atom, numbers) for atom in inner.outvars]

    def told_by(self, number: int) -> Iterator[int]:
        """Yields the values of which none can be bad while this one is finite."""
        waiting, seen = [number], {number}
        while waiting:
            made = self._makers[waiting.pop()]
            if made is None or not self._carries(made):
                continue
            floats = [n for n in made.operands if self._inexact[n]]
            first = made.operands[:1] if made.name in _CARRY_THE_FIRST else floats
            for n in first:
                if n in seen or not all(self._is_ordinary(m) for m in floats if m != n):
                    continue
                seen.add(n)
                waiting.append(n)
                yield n

    def _carries(self, made: _Made) -> bool:
        """Returns whether a value is not finite wherever an operand is not."""
        name, params = made.name, made.params
        shapes = [self._shapes[n] for n in made.operands]
        if any(0 in shape for shape in (made.shape, *shapes)):
            return False
        if name == "convert_element_type":
            wide = jnp.issubdtype(params["new_dtype"], jnp.inexact)
            return bool(wide and jnp.dtype(params["new_dtype"]).itemsize > 1)
        if name == "integer_pow":
            return bool(params["y"] > 0)
        if name == "pad":
            return all(
                low >= 0 and high >= 0 for low, high, _ in params["padding_config"]
            )
        if name == "reduce_window_sum":
            return _are_all_in(shapes[0], params)
        if name == "conv_general_dilated":
            return _are_all_met(shapes[0], shapes[1], params)
        return name in _CARRY or name == "div"

    def _is_ordinary(self, number: int) -> bool:
        """Returns whether a value holds no infinity by design."""
        waiting = [number]
        while waiting:  # each after its operands, without a call in a call
            n = waiting[-1]
            made = self._makers[n]
            if n in self._known:
                waiting.pop()
            elif not self._inexact[n]:
                self._known[n] = True
            elif made is None:
                value = self._constants.get(n)
                self._known[n] = value is None or _is_finite(value)
            elif made.name not in _ORDINARY:
                self._known[n] = False
            else:
                rest = [m for m in made.operands if m not in self._known]
                waiting += rest
                if not rest:
                    self._known[n] = all(self._known[m] for m in made.operands)
        return self._known[number]


def _is_finite(value: Any) -> bool:
    array = np.asarray(value)
    if array.dtype.kind == "V":  # bfloat16 and smaller
        array = array.astype(np.float32)
    return bool(np.isfinite(array).all())


def _are_all_in(shape: Sequence[int], params: Mapping[str, Any]) -> bool:
    """Returns whether each element lies in a window of a sum over windows."""
    return all(
        low >= 0
        and high >= 0
        and base == dilation == 1
        and stride <= window
        and (size + low + high - window) % stride == 0
        for size, window, stride, (low, high), base, dilation in zip(
            *(shape, params["window_dimensions"], params["window_strides"]),
            *(params["padding"], params["base_dilation"], params["window_dilation"]),
            strict=True,
        )
    )


def _are_all_met(
    shape: Sequence[int], kernel: Sequence[int], params: Mapping[str, Any]
) -> bool:
    """Returns whether a convolution multiplies each element of the first operand."""
    numbers = params["dimension_numbers"]
    return _are_all_in(
        [shape[axis] for axis in numbers.lhs_spec[2:]],
        {
            "window_dimensions": [kernel[axis] for axis in numbers.rhs_spec[2:]],
            "base_dilation": params["lhs_dilation"],
            "window_dilation": params["rhs_dilation"],
            **params,
        },
    )


def implied(found: Sequence[Found], scope: Any) -> set[int]:
    """Returns ids of the tensors that another one tells of, which is read.

    Args:
        found: all that was met of a step, in the order in which it was made.
        scope: the trace of the step; None where it runs eagerly.
    """
    traced = private.traced_so_far(scope) if scope is not None else None
    if traced is None:
        return set()
    graph = _Graph(traced)
    numbers = {
        id(f.tensor): graph.number(traced.variable_of(f.tensor))
        for f in found
        if f.kind in _TELLS
    }
    may_be_left = {id(f.tensor) for f in found if f.kind in _LEFT}
    may_be_left -= {id(f.tensor) for f in found if f.kind not in _LEFT}
    left: set[int] = set()
    told: set[int] = set()
    # What tells of others is not left itself: the last ones first.
    tellers = sorted((n, key) for key, n in numbers.items() if n is not None)
    for number, key in reversed(tellers):
        if key in may_be_left and number in told:
            left.add(key)
        else:
            told.add(number)
            told.update(graph.told_by(number))
    return left
