# SPDX-License-Identifier: Apache-2.0
"""PyTorch's operations: what they are called, and of which of the known types they are.

The record and the rules know operations by TensorFlow's types ("RealDiv"): one vocabulary
for all backends.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class _Known(NamedTuple):
    """The type of an operation, and the name under which users call it."""

    op_type: str
    public: str


# By the name in PyTorch's library of operations (aten), without the "_" of one in place.
_KNOWN: Final[dict[str, _Known]] = {
    **{
        name: _Known(op_type, f"torch.{name}")
        for name, op_type in {
            "abs": "Abs",
            "acos": "Acos",
            "acosh": "Acosh",
            "add": "AddV2",
            "asin": "Asin",
            "atanh": "Atanh",
            "bmm": "BatchMatMulV2",
            "cat": "ConcatV2",
            "cos": "Cos",
            "cosh": "Cosh",
            "cumprod": "Cumprod",
            "cumsum": "Cumsum",
            "digamma": "Digamma",
            "div": "RealDiv",
            "erfinv": "Erfinv",
            "exp": "Exp",
            "expm1": "Expm1",
            "clone": "Identity",
            "elu": "Elu",
            "erf": "Erf",
            "floor": "Floor",
            "floor_divide": "FloorDiv",
            "gather": "GatherV2",
            "index_select": "GatherV2",
            "leaky_relu": "LeakyRelu",
            "lgamma": "Lgamma",
            "log": "Log",
            "log10": "Log",
            "log1p": "Log1p",
            "log2": "Log",
            "maximum": "Maximum",
            "mean": "Mean",
            "minimum": "Minimum",
            "mul": "Mul",
            "neg": "Neg",
            "pow": "Pow",
            "prod": "Prod",
            "reciprocal": "Reciprocal",
            "relu": "Relu",
            "remainder": "FloorMod",
            "rsqrt": "Rsqrt",
            "sigmoid": "Sigmoid",
            "sign": "Sign",
            "sin": "Sin",
            "sinh": "Sinh",
            "sqrt": "Sqrt",
            "square": "Square",
            "stack": "Pack",
            "sub": "Sub",
            "sum": "Sum",
            "tan": "Tan",
            "tanh": "Tanh",
            "where": "SelectV2",
            "xlogy": "Xlogy",
        }.items()
    },
    "_log_softmax": _Known("LogSoftmax", "torch.log_softmax"),
    "_softmax": _Known("Softmax", "torch.softmax"),
    "_to_copy": _Known("Cast", "torch.Tensor.to"),
    "embedding": _Known("GatherV2", "torch.nn.functional.embedding"),
    "index": _Known("GatherV2", "torch.index_select"),
    "rsub": _Known("Sub", "torch.sub"),
    "softplus": _Known("Softplus", "torch.nn.functional.softplus"),
    "addmm": _Known("MatMul", "torch.matmul"),
    "amax": _Known("Max", "torch.amax"),
    "amin": _Known("Min", "torch.amin"),
    "baddbmm": _Known("BatchMatMulV2", "torch.matmul"),
    "convolution": _Known("Conv2D", "torch.conv2d"),
    "linalg_vector_norm": _Known("EuclideanNorm", "torch.linalg.vector_norm"),
    "mm": _Known("MatMul", "torch.matmul"),
    "special_xlog1py": _Known("Xlog1py", "torch.special.xlog1py"),
}
# Gradients, by the operation's name in PyTorch's autograd ("LogBackward0"), where it is
# another one.
_FORWARD: Final = {
    "addmm": "mm",
    "linalgvectornorm": "linalg_vector_norm",
    "logsoftmax": "_log_softmax",
    "softmax": "_softmax",
    "max": "amax",
    "min": "amin",
}


def known(name: str) -> tuple[str, str]:
    """Returns the type and the public name of an operation.

    Args:
        name: in aten, e.g. "div_".
    """
    plain = name.removeprefix("_foreach_")
    plain = plain if plain in _KNOWN else plain.removesuffix("_")
    found = _KNOWN.get(plain)
    return found or _Known(name, f"torch.ops.aten.{name}")


def forward_of(node: str) -> tuple[str, str]:
    """Returns type and public name of the operation of which a node is the gradient.

    Args:
        node: the node's name, e.g. "SqrtBackward0".
    """
    plain = re.sub(r"Backward\d*$", "", node).lower()
    name = _FORWARD.get(plain, plain)
    return _KNOWN.get(name) or _Known(plain, f"torch.{plain}")
