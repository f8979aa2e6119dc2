# SPDX-License-Identifier: Apache-2.0
"""Users' names for TensorFlow's operations, and why a result of theirs is non-finite.

NumPy alone; nothing here needs TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import Operand
from tb_nanwatch.wording.chain_text import plural

Array = npt.NDArray[Any]
_Mask = npt.NDArray[np.bool_]

# Operations that are not listed are shown as tf.raw_ops.<type>.
_PUBLIC: Final[dict[str, str]] = {
    "Abs": "tf.math.abs",
    "Acos": "tf.math.acos",
    "Acosh": "tf.math.acosh",
    "Add": "tf.math.add",
    "AddN": "tf.math.add_n",
    "AddV2": "tf.math.add",
    "Asin": "tf.math.asin",
    "Atanh": "tf.math.atanh",
    "AvgPool": "tf.nn.avg_pool2d",
    "BatchMatMulV2": "tf.linalg.matmul",
    "BatchMatMulV3": "tf.linalg.matmul",
    "BiasAdd": "tf.nn.bias_add",
    "Cast": "tf.cast",
    "Cholesky": "tf.linalg.cholesky",
    "ConcatV2": "tf.concat",
    "Conv1D": "tf.nn.conv1d",
    "Conv2D": "tf.nn.conv2d",
    "Conv3D": "tf.nn.conv3d",
    "Cos": "tf.math.cos",
    "Cosh": "tf.math.cosh",
    "Cumprod": "tf.math.cumprod",
    "Cumsum": "tf.math.cumsum",
    "DepthwiseConv2dNative": "tf.nn.depthwise_conv2d",
    "Digamma": "tf.math.digamma",
    "Div": "tf.math.divide",
    "DivNoNan": "tf.math.divide_no_nan",
    "Einsum": "tf.einsum",
    "Elu": "tf.nn.elu",
    "Erfinv": "tf.math.erfinv",
    "Exp": "tf.math.exp",
    "Expm1": "tf.math.expm1",
    "Floor": "tf.math.floor",
    "FloorDiv": "tf.math.floordiv",
    "FloorMod": "tf.math.floormod",
    "FusedBatchNormV3": "tf.nn.batch_normalization",
    "GatherV2": "tf.gather",
    "Identity": "tf.identity",
    "L2Loss": "tf.nn.l2_loss",
    "Lgamma": "tf.math.lgamma",
    "Log": "tf.math.log",
    "Log1p": "tf.math.log1p",
    "LogSoftmax": "tf.nn.log_softmax",
    "MatMul": "tf.linalg.matmul",
    "MatrixInverse": "tf.linalg.inv",
    "Max": "tf.math.reduce_max",
    "Maximum": "tf.math.maximum",
    "Mean": "tf.math.reduce_mean",
    "Min": "tf.math.reduce_min",
    "Minimum": "tf.math.minimum",
    "Mul": "tf.math.multiply",
    "Ndtri": "tf.math.ndtri",
    "Neg": "tf.math.negative",
    "Pack": "tf.stack",
    "Pow": "tf.math.pow",
    "Prod": "tf.math.reduce_prod",
    "RealDiv": "tf.math.divide",
    "Reciprocal": "tf.math.reciprocal",
    "Relu": "tf.nn.relu",
    "Rsqrt": "tf.math.rsqrt",
    "Select": "tf.where",
    "SelectV2": "tf.where",
    "Selu": "tf.nn.selu",
    "Sigmoid": "tf.math.sigmoid",
    "Sign": "tf.math.sign",
    "Sin": "tf.math.sin",
    "Sinh": "tf.math.sinh",
    "Softmax": "tf.nn.softmax",
    "SoftmaxCrossEntropyWithLogits": "tf.nn.softmax_cross_entropy_with_logits",
    "Softplus": "tf.math.softplus",
    "SparseSoftmaxCrossEntropyWithLogits": (
        "tf.nn.sparse_softmax_cross_entropy_with_logits"
    ),
    "Sqrt": "tf.math.sqrt",
    "Square": "tf.math.square",
    "SquaredDifference": "tf.math.squared_difference",
    "Sub": "tf.math.subtract",
    "Sum": "tf.math.reduce_sum",
    "Tan": "tf.math.tan",
    "Tanh": "tf.math.tanh",
    "Xdivy": "tf.math.xdivy",
    "Xlog1py": "tf.math.xlog1py",
    "Xlogy": "tf.math.xlogy",
}

_BINARY: Final = ("first input", "second input")
AXES: Final = "axis"  # selects axes: the size of its values means nothing
_OPERANDS: Final[dict[str, tuple[str, ...]]] = {
    "RealDiv": ("numerator", "denominator"),
    "Div": ("numerator", "denominator"),
    "FloorDiv": ("numerator", "denominator"),
    "FloorMod": ("numerator", "denominator"),
    "Xdivy": ("numerator", "denominator"),
    "Xlogy": ("factor", "argument"),
    "Xlog1py": ("factor", "argument"),
    "Pow": ("base", "exponent"),
    "BiasAdd": ("value", "bias"),
    "Conv1D": ("input", "filter"),
    "Conv2D": ("input", "filter"),
    "Conv3D": ("input", "filter"),
    "DepthwiseConv2dNative": ("input", "filter"),
    "SqrtGrad": ("square root", "incoming gradient"),
    "RsqrtGrad": ("result", "incoming gradient"),
    "ReciprocalGrad": ("result", "incoming gradient"),
    "SoftmaxCrossEntropyWithLogits": ("logit", "label"),
    "SparseSoftmaxCrossEntropyWithLogits": ("logit", "label"),
    "SelectV2": ("condition", "first choice", "second choice"),
    "Select": ("condition", "first choice", "second choice"),
    **dict.fromkeys(
        "Add AddV2 Sub Mul Maximum Minimum SquaredDifference MatMul "
        "BatchMatMulV2 BatchMatMulV3".split(),
        _BINARY,
    ),
    **dict.fromkeys("Max Mean Min Prod Sum EuclideanNorm".split(), ("element", AXES)),
}


@dataclass(frozen=True)
class _Domain:
    """Where an operation is not finite: `words` if `test` holds for the operand."""

    operand: int
    test: Any
    words: str


def _zero(x: Array) -> _Mask:
    return np.asarray(x == 0)


def _negative(x: Array) -> _Mask:
    return np.asarray(x < 0)


_DIVISION: Final = (_Domain(1, _zero, "0"),)
_DOMAINS: Final[dict[str, tuple[_Domain, ...]]] = {
    "RealDiv": _DIVISION,
    "Div": _DIVISION,
    "FloorDiv": _DIVISION,
    "FloorMod": _DIVISION,
    "Xdivy": _DIVISION,
    "Log": (_Domain(0, _zero, "0"), _Domain(0, _negative, "negative")),
    "Xlogy": (_Domain(1, _zero, "0"), _Domain(1, _negative, "negative")),
    "Log1p": (
        _Domain(0, lambda x: x == -1, "-1"),
        _Domain(0, lambda x: x < -1, "below -1"),
    ),
    "Xlog1py": (
        _Domain(1, lambda x: x == -1, "-1"),
        _Domain(1, lambda x: x < -1, "below -1"),
    ),
    "Sqrt": (_Domain(0, _negative, "negative"),),
    "Rsqrt": (_Domain(0, _zero, "0"), _Domain(0, _negative, "negative")),
    "Reciprocal": (_Domain(0, _zero, "0"),),
    "Inv": (_Domain(0, _zero, "0"),),
    "Acos": (_Domain(0, lambda x: abs(x) > 1, "outside [-1, 1]"),),
    "Asin": (_Domain(0, lambda x: abs(x) > 1, "outside [-1, 1]"),),
    "Atanh": (_Domain(0, lambda x: abs(x) >= 1, "not inside (-1, 1)"),),
    "Erfinv": (_Domain(0, lambda x: abs(x) >= 1, "not inside (-1, 1)"),),
    "Ndtri": (_Domain(0, lambda x: (x <= 0) | (x >= 1), "not inside (0, 1)"),),
    "Acosh": (_Domain(0, lambda x: x < 1, "below 1"),),
    "Lgamma": (_Domain(0, lambda x: (x <= 0) & (x == np.floor(x)), "poles"),),
    "Digamma": (_Domain(0, lambda x: (x <= 0) & (x == np.floor(x)), "poles"),),
    "SqrtGrad": (_Domain(0, _zero, "0"),),
}
# Exp's overflow begins at the logarithm of the largest number.
_EXPONENTIAL: Final = ("Exp", "Expm1", "Sinh", "Cosh")


def public_name(op_type: str) -> str:
    """Returns the name under which users call the operation, e.g. "tf.math.divide"."""
    return _PUBLIC.get(op_type, f"tf.raw_ops.{op_type}")


def measure(op_type: str, arrays: Sequence[Array]) -> list[Operand]:
    """Returns the measurements of each input of an operation."""
    return [
        operand(operand_name(op_type, i, len(arrays)), array)
        for i, array in enumerate(arrays)
        if array.dtype.kind in "biufcV" and not array.dtype.names
    ]


def operand_name(op_type: str, number: int, count: int) -> str:
    """Returns the name of an operation's input, such as "denominator"; it has `count` inputs."""
    names = _OPERANDS.get(op_type, ())
    if number < len(names):
        return names[number]
    return "argument" if count == 1 else f"input no. {number + 1}"


def out_of_domain(op_type: str, values: Mapping[int, Array]) -> list[int]:
    """Returns the numbers of the operands that have a value outside of the domain."""
    return [
        domain.operand
        for domain in _DOMAINS.get(op_type, ())
        if domain.operand in values and bool(domain.test(values[domain.operand]).any())
    ]


def operand(name: str, array: Array) -> Operand:
    """Returns the measurements of one array."""
    values = real(array)
    finite = values[np.isfinite(values)]
    nonzero = np.abs(finite[finite != 0])
    return Operand(
        name,
        array.dtype.name,
        list(array.shape),
        int(array.size),
        min=float(finite.min()) if finite.size else math.nan,
        max=float(finite.max()) if finite.size else math.nan,
        smallest=float(nonzero.min()) if nonzero.size else math.nan,
        num_zero=int((values == 0).sum()),
        num_negative=int((values < 0).sum()),
        num_nan=int(np.isnan(values).sum()),
        num_pos_inf=int((values == np.inf).sum()),
        num_neg_inf=int((values == -np.inf).sum()),
    )


def finding(op_type: str, arrays: Sequence[Array], dtype: str) -> str:
    """Returns in words why a result is non-finite although its inputs are finite.

    Args:
        op_type: TensorFlow's type.
        arrays: the inputs.
        dtype: of the result.
    """
    names = _OPERANDS.get(op_type, ())
    said = []
    for domain in _DOMAINS.get(op_type, ()):
        if domain.operand >= len(arrays):
            continue
        values = real(arrays[domain.operand])
        n = int(np.sum(domain.test(values)))
        if n:
            name = names[domain.operand] if names else "argument"
            said.append(_of(n, values.size, name, domain.words))
    if op_type == "Pow" and len(arrays) == 2:
        said += _power(real(arrays[0]), real(arrays[1]))
    if op_type == "Mean" and arrays and arrays[0].size == 0:
        said.append("the mean of no elements")
    if said:
        return ", ".join(said)
    return _overflow(op_type, arrays, dtype)


def _power(base: Array, exponent: Array) -> list[str]:
    base, exponent = np.broadcast_arrays(base, exponent)
    zero = int(((base == 0) & (exponent < 0)).sum())
    fraction = int(((base < 0) & (exponent != np.floor(exponent))).sum())
    said = []
    if zero:
        said.append(_of(zero, base.size, "base", "0 under a negative exponent"))
    if fraction:
        words = "negative under an exponent that is no integer"
        said.append(_of(fraction, base.size, "base", words))
    return said


def _overflow(op_type: str, arrays: Sequence[Array], dtype: str) -> str:
    largest = _largest(dtype)
    operands = measure(op_type, arrays)
    measured = [o for o in operands if o.name != AXES and not math.isnan(o.max)]
    ranges = ", ".join(
        f"{plural(o.name) if o.size != 1 else o.name} {_range(o)}" for o in measured[:3]
    )
    if largest is None:
        return ranges
    if op_type in _EXPONENTIAL and measured:
        return (
            f"the largest argument is {max(abs(measured[0].max), abs(measured[0].min)):.3g};"
            f" above {math.log(largest):.4g} the result is beyond {dtype}"
        )
    if not ranges:
        return ""
    return f"the result is beyond {largest:.3g}, the largest {dtype}: {ranges}"


def _range(o: Operand) -> str:
    if o.min == o.max:
        return f"{o.min:.3g}"
    return f"from {o.min:.3g} to {o.max:.3g}"


def _largest(dtype: str) -> float | None:
    known = {"bfloat16": 3.39e38, "float16": 65504.0}
    if dtype in known:
        return known[dtype]
    try:
        return float(np.finfo(dtype).max)
    except (TypeError, ValueError):
        return None


def _of(n: int, size: int, name: str, words: str) -> str:
    if size == 1:
        return f"the {name} is {words}"
    return f"{n:,} of {size:,} {plural(name)} {'is' if n == 1 else 'are'} {words}"


def real(array: Array) -> Array:
    """Returns float64 (or |complex|) values; exact for every smaller dtype."""
    if array.dtype.kind == "c":
        return np.abs(array)
    return array.astype(np.float64)
