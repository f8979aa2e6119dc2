# SPDX-License-Identifier: Apache-2.0
"""Calls for JAX's operations with another argument, for the experiment with an epsilon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import jax
import jax.numpy as jnp

from tb_nanwatch.compat.jax import divisions
from tb_nanwatch.postmortem.epsilon import Alter, altered

# By the type: what is called for it, and which argument is to be kept away from 0.
_OF_TYPE: Final[dict[str, tuple[tuple[Any, str, int], ...]]] = {
    "RealDiv": (
        *((jnp, "divide", 1), (jnp, "true_divide", 1), (jnp, "reciprocal", 0)),
        (jax.lax, "div", 1),
    ),
    "Log": (
        *((jnp, "log", 0), (jnp, "log2", 0), (jnp, "log10", 0)),
        (jax.lax, "log", 0),
    ),
    "Sqrt": ((jnp, "sqrt", 0), (jax.lax, "sqrt", 0)),
    "Rsqrt": ((jax.lax, "rsqrt", 0),),
}
# What `/` calls: "a / x" of a number is called with x first.
_SLASH: Final = (("truediv", 1), ("rtruediv", 0))


@contextlib.contextmanager
def calls(op_type: str, alter: Alter) -> Iterator[None]:
    """Has calls for operations of a type take other arguments (`postmortem.epsilon.Calls`)."""
    functions = [*_OF_TYPE.get(op_type, ())]
    with contextlib.ExitStack() as stack:
        if op_type == "RealDiv":
            place = stack.enter_context(divisions())
            functions += [(place, name, position) for name, position in _SLASH]
        stack.enter_context(altered(functions, alter))
        yield
