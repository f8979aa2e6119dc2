# SPDX-License-Identifier: Apache-2.0
"""How to keep each operation in its domain: in words, as an example, as an edit of a line."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.diagnosis.rules.own_line import (
    LineEdit,
)
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import Operand, PostMortem

# What Keras itself takes for small, where the dtype can hold it (`keras.config.epsilon`).
_SMALL: Final = {"float16": "1e-4"}
# Under a root: the square of a small number.
_TINY: Final = {"float16": "1e-4"}
# Under a root that is divided by: its derivative is the third power of one over the root,
# and that of a quotient the second of one over the denominator.
_SQUARED: Final = {"float16": "1e-3"}
_DENOMINATOR: Final = {"float16": "1e-2"}
# An operation that subtracts, as TensorFlow, PyTorch and JAX call it.
_DIFFERENCES: Final = ("subtract", "sub")
# Decades of the largest number that a dtype holds.
_DECADES: Final = {"float16": 4.8, "float64": 308.0}


@dataclass(frozen=True)
class Guard:
    """How an operation is kept in its domain.

    Attributes:
        does: the operation as a verb, as in "The layer ... takes a logarithm".
        keep: the operand and its allowed range: "its argument above 0".
        example: in Keras' functions; {small}, {tiny}, ... stand for numbers of its dtype.
        edit: how the user's own expression is changed to that.
    """

    does: str
    keep: str
    example: str
    edit: LineEdit | None = None


_LOG: Final = Guard(
    "takes a logarithm",
    "the logarithm's argument above 0",
    "keras.ops.log(keras.ops.maximum(x, {small}))",
    LineEdit(("log",), "maximum", "{small}", everywhere=True),
)
_LOG1P: Final = Guard(
    "takes the logarithm of 1 + x",
    "the argument of log1p above -1",
    "keras.ops.log1p(keras.ops.maximum(x, -0.999))",
    LineEdit(("log1p",), "maximum", "-0.999", everywhere=True),
)
_DIVISION: Final = Guard(
    "divides",
    "the denominator away from 0",
    "x / keras.ops.maximum(d, {least})",
    LineEdit(("divide", "true_divide", "truediv"), "maximum", "{least}", 1, ast.Div),
)
_SIGNED_DIVISION: Final = Guard(
    "divides",
    "the denominator away from 0",
    "x / keras.ops.where(keras.ops.abs(d) < {least}, {least}, d)",
)
_RECIPROCAL: Final = Guard(
    "takes a reciprocal",
    "the reciprocal's argument away from 0",
    "keras.ops.reciprocal(keras.ops.maximum(x, {least}))",
    LineEdit(("reciprocal",), "maximum", "{least}"),
)
ROOT: Final = Guard(
    "takes a root",
    "the root's argument above 0, where its derivative is finite too",
    "keras.ops.sqrt(keras.ops.maximum(x, {tiny}))",
    LineEdit(("sqrt",), "maximum", "{tiny}", everywhere=True),
)
RSQRT: Final = Guard(
    "divides by a root",
    "the root's argument above 0",
    "keras.ops.rsqrt(keras.ops.maximum(x, {squared}))",
    LineEdit(("rsqrt",), "maximum", "{squared}", everywhere=True),
)
_POWER: Final = Guard(
    "takes a power",
    "the power's base above 0",
    "keras.ops.power(keras.ops.maximum(x, {small}), a)",
    LineEdit(("power", "pow"), "maximum", "{small}", 0, ast.Pow),
)
# Cut off at 0, a difference would train towards one side.
_SIGNED_POWER: Final = Guard(
    "takes a power",
    "the power's base above 0",
    "keras.ops.power(keras.ops.maximum(keras.ops.abs(x), {small}), a)",
    LineEdit(("power", "pow"), "maximum", "{small}", 0, ast.Pow, of="abs"),
)
LARGE_POWER: Final = Guard(
    "takes a power",
    "the power's base small",
    "keras.ops.power(keras.ops.clip(x, -{base}, {base}), a)",
    LineEdit(("power", "pow"), "clip", "-{base}, {base}", 0, ast.Pow),
)
EXPONENTIAL: Final = Guard(
    "takes an exponential",
    "the exponential's argument small",
    "keras.ops.exp(keras.ops.minimum(x, {most}))",
    LineEdit(("exp",), "minimum", "{most}", everywhere=True),
)
_UNIT: Final = Guard(
    "takes a function that ends at -1 and 1",
    "its argument inside (-1, 1)",
    "keras.ops.clip(x, -0.999, 0.999)",
    LineEdit(
        ("arccos", "acos", "arcsin", "asin", "arctanh", "atanh", "erfinv"),
        "clip",
        "-0.999, 0.999",
        everywhere=True,
    ),
)
_ACOSH: Final = Guard(
    "takes arcosh", "its argument above 1", "keras.ops.maximum(x, 1.001)"
)
_SHARE: Final = Guard(
    "takes a quantile", "its argument inside (0, 1)", "keras.ops.clip(x, 1e-3, 0.999)"
)
_GAMMA: Final = Guard(
    "takes a gamma function",
    "the gamma function's argument above 0",
    "keras.ops.maximum(x, 1e-3)",
)
_MATRIX: Final = Guard(
    "inverts or factors a matrix",
    "the matrix regular",
    "x + 1e-3 * keras.ops.eye(n)",
)
_NOTHING: Final = Guard(
    "takes a mean",
    "the mean off empty tensors",
    "keras.ops.sum(x) / max(n, 1) of n elements",
)
SIZE: Final = Guard(
    "makes a number that is beyond its dtype",
    "what enters it small",
    "scale it, or clip it with keras.ops.clip(x, -1e6, 1e6)",
)
HALF_SIZE: Final = Guard(
    "makes a number that is beyond float16",
    "this operation in float32",
    'give its layer dtype="float32", or put keras.ops.cast(x, "float32") before it',
)

# By TensorFlow's type of the (forward) operation.
GUARDS: Final[dict[str, Guard]] = {
    "Log": _LOG,
    "Xlogy": _LOG,
    "Log1p": _LOG1P,
    "Xlog1py": _LOG1P,
    **dict.fromkeys(("RealDiv", "Div", "FloorDiv", "FloorMod", "Xdivy"), _DIVISION),
    **dict.fromkeys(("Reciprocal", "Inv"), _RECIPROCAL),
    "Sqrt": ROOT,
    "EuclideanNorm": ROOT,
    "Rsqrt": RSQRT,
    "Pow": _POWER,
    **dict.fromkeys(("Exp", "Expm1", "Sinh", "Cosh"), EXPONENTIAL),
    **dict.fromkeys(("Acos", "Asin", "Atanh", "Erfinv"), _UNIT),
    "Acosh": _ACOSH,
    "Ndtri": _SHARE,
    **dict.fromkeys(("Lgamma", "Digamma"), _GAMMA),
    **dict.fromkeys(("Cholesky", "MatrixInverse"), _MATRIX),
}
LOGARITHMS: Final = (_LOG, _LOG1P)
# These take what is to be positive: a rate, a scale, a variance.
OF_POSITIVES: Final = (_LOG, ROOT, RSQRT)
SIZES: Final = (SIZE, HALF_SIZE)
DIVISIONS: Final = (_DIVISION, _SIGNED_DIVISION, _RECIPROCAL)


def guard_of(found: PostMortem) -> Guard:
    """Returns how the operation that a post-mortem names is kept in its domain."""
    op_type = found.forward_type or found.op_type or ""
    guard = GUARDS.get(op_type)
    if guard is _DIVISION and _denominators_of_both_signs(found):
        return _SIGNED_DIVISION
    if guard is _POWER and _too_large_base(found):
        return LARGE_POWER
    if guard is _POWER and _bases_of_both_signs(found):
        return _SIGNED_POWER
    if guard is not None:
        return guard
    if op_type == "Mean" and any(o.size == 0 for o in found.inputs):
        return _NOTHING
    return HALF_SIZE if found.dtype == "float16" else SIZE


def _bases_of_both_signs(found: PostMortem) -> bool:
    """Returns whether a power's base is a difference, and below zero by more than rounding."""
    if found.gradient or not found.inputs or not found.chain:
        return False
    base, came = found.inputs[0], found.chain[0]
    is_difference = (
        came.operand == "base" and came.name.rpartition(".")[2] in _DIFFERENCES
    )
    return is_difference and _is_negative(base)


def layer_of_both_signs(found: PostMortem) -> str:
    """Returns the path of the layer whose output an operation took as it is, where that is negative.

    "" where it is 0 or less by rounding alone, and where a line of the user's or the data made
    it: nobody can tell there how it is to become positive.
    """
    came = found.chain[0] if found.chain else None
    if found.gradient or came is None or came.origin != "operation" or came.source:
        return ""
    taken = [o for o in found.inputs if o.name == came.operand]
    return came.layer if any(map(_is_negative, taken)) else ""


def _is_negative(operand: Operand) -> bool:
    """Returns whether numbers are below zero by more than rounding."""
    # The extremes are NaN where nothing of it is finite.
    return operand.min < -at("rounded_share") * max(operand.max, -operand.min)


def _denominators_of_both_signs(found: PostMortem) -> bool:
    # The operands of a gradient's operation are other tensors.
    return (
        not found.gradient and len(found.inputs) > 1 and found.inputs[1].num_negative > 0
    )


def _too_large_base(found: PostMortem) -> bool:
    """Returns whether a power is beyond its dtype and not of a base that is 0 or negative.

    The derivative of a power is one itself, of the same base.
    """
    base = operand_of(found, "base", 0)
    return base is not None and base.min > 0


def operand_of(found: PostMortem, name: str, place: int) -> Operand | None:
    """Returns an operand by its name, or by its place where the operation is a forward one."""
    for operand in found.inputs:
        if operand.name == name:
            return operand
    if found.gradient or len(found.inputs) <= place:
        return None
    return found.inputs[place]


def with_numbers(text: str, found: PostMortem) -> str:
    """Returns a guard's text with the numbers that fit the operation."""
    dtype = found.dtype
    return text.format(
        small=_SMALL.get(dtype, "1e-7"),
        tiny=_TINY.get(dtype, "1e-12"),
        squared=_SQUARED.get(dtype, "1e-12"),
        least=_least_denominator(found),
        base=_largest_base(found),
        most="10.0" if dtype == "float16" else "20.0",
    )


def _least_denominator(found: PostMortem) -> str:
    """Returns a lower bound for denominators: a tenth of the smallest that was not 0.

    That leaves the others as they are, and what was divided by 0 does not outweigh them.
    """
    usual = _DENOMINATOR.get(found.dtype, "1e-3")
    denominator = operand_of(found, "denominator", 1)
    if denominator is None or not denominator.num_zero or found.dtype == "float16":
        return usual
    if not at("least_denominator") <= denominator.smallest / 10:
        return usual
    return f"1e{min(-1, math.floor(math.log10(denominator.smallest / 10)))}"


def _largest_base(found: PostMortem) -> str:
    """Returns the largest base whose power can still be squared, as a quotient's slope does."""
    exponent = operand_of(found, "exponent", 1)
    if exponent is None or not exponent.max > 1:
        return "100"
    power = exponent.max + (1 if found.gradient else 0)
    largest = 10 ** (_DECADES.get(found.dtype, 38.5) / 2 / power)
    if largest >= 100:
        return "100"
    return (
        str(math.floor(largest)) if largest >= 2 else f"{math.floor(10 * largest) / 10}"
    )


def takes_infinities(found: PostMortem) -> bool:
    """Returns whether an operand of the operation was non-finite before it ran."""
    return any(o.num_nan or o.num_pos_inf or o.num_neg_inf for o in found.inputs)
