"""What to change at the operation that the post-mortem names.

Where a line of the user's called it, the fix is for that line; in a layer or a loss of
Keras' own it is for what the user gives to it.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.measured import Measured, largest, smallest
from tb_nanwatch.rules.own_line import Edit, edited, without_comment
from tb_nanwatch.schema import PostMortem

# What Keras itself takes for small, where the dtype can hold it (`keras.config.epsilon`).
_SMALL: Final = {"float16": "1e-4"}
# Under a root: the square of a small number.
_TINY: Final = {"float16": "1e-4"}


@dataclass(frozen=True)
class Guard:
    """How an operation is kept in its domain.

    Attributes:
        does: what it does, of a layer: "The layer ... takes a logarithm".
        keep: what is to be kept where: "its argument above 0".
        example: in Keras' functions; {small} and {tiny} stand for numbers of its dtype.
        edit: how the user's own expression is changed to that.
    """

    does: str
    keep: str
    example: str
    edit: Edit | None = None


_LOG: Final = Guard(
    "takes a logarithm",
    "the logarithm's argument above 0",
    "keras.ops.log(keras.ops.maximum(x, {small}))",
    Edit(("log",), "maximum", "{small}"),
)
_LOG1P: Final = Guard(
    "takes the logarithm of 1 + x",
    "the argument of log1p above -1",
    "keras.ops.log1p(keras.ops.maximum(x, -0.999))",
    Edit(("log1p",), "maximum", "-0.999"),
)
_DIVISION: Final = Guard(
    "divides",
    "the denominator away from 0",
    "x / keras.ops.maximum(d, 1e-3)",
    Edit(("divide", "true_divide", "truediv"), "maximum", "1e-3", 1, ast.Div),
)
_SIGNED_DIVISION: Final = Guard(
    "divides",
    "the denominator away from 0",
    "x / keras.ops.where(keras.ops.abs(d) < 1e-3, 1e-3, d)",
)
_RECIPROCAL: Final = Guard(
    "takes a reciprocal",
    "the reciprocal's argument away from 0",
    "keras.ops.reciprocal(keras.ops.maximum(x, 1e-3))",
    Edit(("reciprocal",), "maximum", "1e-3"),
)
_ROOT: Final = Guard(
    "takes a root",
    "the root's argument above 0, where its derivative is finite too",
    "keras.ops.sqrt(keras.ops.maximum(x, {tiny}))",
    Edit(("sqrt",), "maximum", "{tiny}"),
)
_RSQRT: Final = Guard(
    "divides by a root",
    "the root's argument above 0",
    "keras.ops.rsqrt(keras.ops.maximum(x, {tiny}))",
    Edit(("rsqrt",), "maximum", "{tiny}"),
)
_POWER: Final = Guard(
    "takes a power",
    "the power's base above 0",
    "keras.ops.power(keras.ops.maximum(x, {small}), a)",
    Edit(("power", "pow"), "maximum", "{small}", 0, ast.Pow),
)
_LARGE_POWER: Final = Guard(
    "takes a power",
    "the power's base small",
    "keras.ops.power(keras.ops.clip(x, -100, 100), a)",
)
_EXPONENTIAL: Final = Guard(
    "takes an exponential",
    "the exponential's argument small",
    "keras.ops.exp(keras.ops.minimum(x, {most})), or in a softmax keras.ops.exp(x - "
    "keras.ops.max(x, axis=-1, keepdims=True))",
    Edit(("exp",), "minimum", "{most}"),
)
_UNIT: Final = Guard(
    "takes a function that ends at -1 and 1",
    "its argument inside (-1, 1)",
    "keras.ops.clip(x, -0.999, 0.999)",
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
_SIZE: Final = Guard(
    "makes a number that is beyond its dtype",
    "what enters it small",
    "scale it, or clip it with keras.ops.clip(x, -1e6, 1e6)",
)
_HALF_SIZE: Final = Guard(
    "makes a number that is beyond float16",
    "this operation in float32",
    'give its layer dtype="float32", or put keras.ops.cast(x, "float32") before it',
)

# By TensorFlow's type of the (forward) operation.
_GUARDS: Final[dict[str, Guard]] = {
    "Log": _LOG,
    "Xlogy": _LOG,
    "Log1p": _LOG1P,
    "Xlog1py": _LOG1P,
    **dict.fromkeys(("RealDiv", "Div", "FloorDiv", "FloorMod", "Xdivy"), _DIVISION),
    **dict.fromkeys(("Reciprocal", "Inv"), _RECIPROCAL),
    "Sqrt": _ROOT,
    "EuclideanNorm": _ROOT,
    "Rsqrt": _RSQRT,
    "Pow": _POWER,
    **dict.fromkeys(("Exp", "Expm1", "Sinh", "Cosh"), _EXPONENTIAL),
    **dict.fromkeys(("Acos", "Asin", "Atanh", "Erfinv"), _UNIT),
    "Acosh": _ACOSH,
    "Ndtri": _SHARE,
    **dict.fromkeys(("Lgamma", "Digamma"), _GAMMA),
    **dict.fromkeys(("Cholesky", "MatrixInverse"), _MATRIX),
}
_LOGARITHMS: Final = (_LOG, _LOG1P)
_DIVISIONS: Final = (_DIVISION, _SIGNED_DIVISION, _RECIPROCAL)


def of(m: Measured, otherwise: str) -> str:
    """Returns what to change at the first bad operation, `otherwise` where none is known."""
    found = m.facts.postmortem
    if found is None or found.op is None:
        return otherwise
    guard = guard_of(found)
    if found.source is not None:
        return _at_line(m, found, guard)
    if found.layer:
        return _in_layer(found, guard)
    kind = m.bad_tensor.kind if m.bad_tensor is not None else ""
    if kind in ("loss", "gradient"):
        return _in_loss(m, found, guard)
    if kind == "metric":
        return (
            f"This metric of Keras' own {guard.does}: bring predictions and labels into "
            "the range that it is made for, or choose another objective."
        )
    return otherwise


def of_layer(m: Measured, otherwise: str) -> str:
    """Returns what to change where the first bad operation ran in a layer."""
    found = m.facts.postmortem
    return of(m, otherwise) if found is not None and found.layer else otherwise


def at_own_line(m: Measured) -> str:
    """Returns the fix where a line of the user's made the first bad value, else nothing."""
    found = m.facts.postmortem
    own = found is not None and found.op is not None and found.source is not None
    return of(m, "") if own else ""


def guard_of(found: PostMortem) -> Guard:
    """Returns how the operation that a post-mortem names is kept in its domain."""
    op_type = found.forward_type or found.op_type or ""
    guard = _GUARDS.get(op_type)
    if guard is _DIVISION and _denominators_of_both_signs(found):
        return _SIGNED_DIVISION
    if guard is _POWER and not found.gradient and _positive_base(found):
        return _LARGE_POWER
    if guard is not None:
        return guard
    if op_type == "Mean" and any(o.size == 0 for o in found.inputs):
        return _NOTHING
    return _HALF_SIZE if found.dtype == "float16" else _SIZE


def _denominators_of_both_signs(found: PostMortem) -> bool:
    # Of a gradient's operation the operands are others.
    return (
        not found.gradient and len(found.inputs) > 1 and found.inputs[1].num_negative > 0
    )


def _positive_base(found: PostMortem) -> bool:
    return bool(found.inputs) and found.inputs[0].min > 0


def _numbers(text: str, dtype: str) -> str:
    return text.format(
        small=_SMALL.get(dtype, "1e-7"),
        tiny=_TINY.get(dtype, "1e-12"),
        most="10.0" if dtype == "float16" else "20.0",
    )


def _takes_infinities(found: PostMortem) -> bool:
    return any(o.num_nan or o.num_pos_inf or o.num_neg_inf for o in found.inputs)


def _at_line(m: Measured, found: PostMortem, guard: Guard) -> str:
    assert found.source is not None
    source = found.source
    where = f"At {source.file}:{source.line}"
    if source.text:
        where += f", `{without_comment(source.text)}`"
    if _takes_infinities(found):
        half = " (float16 ends at 65504)" if found.dtype == "float16" else ""
        mask = "-3e4" if found.dtype == "float16" else "-1e9"
        return (
            f"{where}: keep infinities out of it; a mask needs only a large finite number"
            f"{half}, e.g. {mask}."
        )
    own = None
    if guard.edit is not None and source.text:
        own = edited(source.text, guard.edit, _numbers(guard.edit.bound, found.dtype))
    example = f"`{own}`" if own else _numbers(guard.example, found.dtype)
    joint = ":" if guard in (_SIZE, _HALF_SIZE) else ", as in"
    fix = f"{where}: keep {guard.keep}{joint} {example}."
    masked = m.bad_tensor is not None and m.bad_tensor.kind == "gradient"
    if masked and guard in (*_LOGARITHMS, *_DIVISIONS):
        # The derivative of a branch that is not taken is zero times infinity.
        fix += " A keras.ops.where around it is not enough: the gradient takes both branches."
    return fix


def _in_layer(found: PostMortem, guard: Guard) -> str:
    if guard is _HALF_SIZE:
        return (
            f'Compute the layer {found.layer} in float32 (dtype="float32"), or scale down '
            "what enters it."
        )
    keep = "what enters it small" if guard is _SIZE else guard.keep
    return (
        f"The layer {found.layer} {guard.does}: keep {keep} by what you give to the layer "
        "(scale or clip its input), or choose another activation."
    )


def _in_loss(m: Measured, found: PostMortem, guard: Guard) -> str:
    """Returns what to give to a loss of Keras' own, in which no line is the user's."""
    if guard in _LOGARITHMS and found.dtype == "float16":
        return (
            "Keras guards this logarithm with 1e-7, which is lost beside 1 in float16: "
            'compute the last layer and the loss in float32 (dtype="float32"), or call '
            "keras.config.set_epsilon(1e-4)."
        )
    if guard in _LOGARITHMS:
        return (
            "This loss takes the logarithm of the predictions: give the last layer the "
            'activation that the loss is made for ("softmax" or "sigmoid" for a '
            'cross-entropy, "softplus" for a Poisson loss), or pass from_logits=True to a '
            "cross-entropy where the last layer has none; its labels must lie in [0, 1]."
        )
    if guard in _DIVISIONS:
        return (
            "This loss divides by what it makes of predictions and labels, and that was 0: "
            "a categorical cross-entropy divides each row by its sum, so end the model in "
            '"softmax" or pass from_logits=True; a relative error needs labels away from 0.'
        )
    if guard is _HALF_SIZE:
        return (
            "The loss is beyond float16: compute the last layer and the loss in float32 "
            '(dtype="float32").'
        )
    return f"{_too_large(m)} Scale the labels and the inputs, and look for extreme rows."


def _too_large(m: Measured) -> str:
    """Returns in a sentence what reached the loss."""
    parts = []
    for kind, words in (("label", "labels"), ("prediction", "predictions")):
        if m.onset is None or not m.of(kind):
            continue
        low, high = smallest(m.onset.low[m.of(kind)]), largest(m.onset.high[m.of(kind)])
        if not math.isnan(low):
            parts.append(f"{words} of [{low:.3g}, {high:.3g}]")
    what = " and ".join(parts) or "labels or predictions"
    return f"This loss cannot hold {what}."
