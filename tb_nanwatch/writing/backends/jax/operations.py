# SPDX-License-Identifier: Apache-2.0
"""JAX's operations: what they are called, and of which of the known types they are.

The record and the rules know operations by TensorFlow's types ("RealDiv"): one vocabulary
for all backends.
"""

from __future__ import annotations

from typing import Final

# By the name of JAX's primitive: the type, and the name under which users call it.
_KNOWN: Final[dict[str, tuple[str, str]]] = {
    "abs": ("Abs", "jax.numpy.abs"),
    "acos": ("Acos", "jax.numpy.arccos"),
    "acosh": ("Acosh", "jax.numpy.arccosh"),
    "add": ("AddV2", "jax.numpy.add"),
    "add_any": ("AddN", "jax.numpy.add"),
    "asin": ("Asin", "jax.numpy.arcsin"),
    "atanh": ("Atanh", "jax.numpy.arctanh"),
    "broadcast_in_dim": ("BroadcastTo", "jax.numpy.broadcast_to"),
    "cholesky": ("Cholesky", "jax.numpy.linalg.cholesky"),
    "concatenate": ("ConcatV2", "jax.numpy.concatenate"),
    "conv_general_dilated": ("Conv2D", "jax.lax.conv_general_dilated"),
    "convert_element_type": ("Cast", "jax.numpy.astype"),
    "copy": ("Identity", "jax.numpy.copy"),
    "copy_p": ("Identity", "jax.numpy.copy"),
    "cos": ("Cos", "jax.numpy.cos"),
    "cosh": ("Cosh", "jax.numpy.cosh"),
    "cumprod": ("Cumprod", "jax.numpy.cumprod"),
    "cumsum": ("Cumsum", "jax.numpy.cumsum"),
    "digamma": ("Digamma", "jax.scipy.special.digamma"),
    "div": ("RealDiv", "jax.numpy.divide"),
    "dot_general": ("MatMul", "jax.numpy.matmul"),
    "erf_inv": ("Erfinv", "jax.scipy.special.erfinv"),
    "exp": ("Exp", "jax.numpy.exp"),
    "expm1": ("Expm1", "jax.numpy.expm1"),
    "floor": ("Floor", "jax.numpy.floor"),
    "gather": ("GatherV2", "jax.numpy.take"),
    "integer_pow": ("Pow", "jax.numpy.power"),
    "lgamma": ("Lgamma", "jax.scipy.special.gammaln"),
    "log": ("Log", "jax.numpy.log"),
    "log1p": ("Log1p", "jax.numpy.log1p"),
    "logistic": ("Sigmoid", "jax.nn.sigmoid"),
    "max": ("Maximum", "jax.numpy.maximum"),
    "min": ("Minimum", "jax.numpy.minimum"),
    "mul": ("Mul", "jax.numpy.multiply"),
    "neg": ("Neg", "jax.numpy.negative"),
    "pow": ("Pow", "jax.numpy.power"),
    "reduce_max": ("Max", "jax.numpy.max"),
    "reduce_min": ("Min", "jax.numpy.min"),
    "reduce_prod": ("Prod", "jax.numpy.prod"),
    "reduce_sum": ("Sum", "jax.numpy.sum"),
    "rem": ("FloorMod", "jax.numpy.remainder"),
    "reshape": ("Reshape", "jax.numpy.reshape"),
    "rsqrt": ("Rsqrt", "jax.lax.rsqrt"),
    "select_n": ("SelectV2", "jax.numpy.where"),
    "sin": ("Sin", "jax.numpy.sin"),
    "sinh": ("Sinh", "jax.numpy.sinh"),
    "slice": ("StridedSlice", "jax.lax.slice"),
    "sqrt": ("Sqrt", "jax.numpy.sqrt"),
    "square": ("Square", "jax.numpy.square"),
    "squeeze": ("Squeeze", "jax.numpy.squeeze"),
    "stop_gradient": ("StopGradient", "jax.lax.stop_gradient"),
    "sub": ("Sub", "jax.numpy.subtract"),
    "tan": ("Tan", "jax.numpy.tan"),
    "tanh": ("Tanh", "jax.numpy.tanh"),
    "transpose": ("Transpose", "jax.numpy.transpose"),
}
_PUBLIC: Final = dict(_KNOWN.values())
# Types whose result is not finite outside of a domain: of several operations on one line
# the derivative is theirs.
WITH_DOMAINS: Final = frozenset(
    "Acos Acosh Asin Atanh Erfinv Log Log1p Pow RealDiv Rsqrt Sqrt".split()
)

# Equations that stand for a function of their own, and where that is.
CALLS: Final = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat": "jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


def type_of(primitive: str) -> str:
    """Returns the type of an operation by the name of its primitive."""
    return _KNOWN.get(primitive, (primitive, ""))[0]


def public_name(op_type: str) -> str:
    """Returns the name under which users call an operation of a type."""
    return _PUBLIC.get(op_type, f"jax.lax.{op_type}")
