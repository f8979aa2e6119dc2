# SPDX-License-Identifier: Apache-2.0
"""Tensors made again in the slow branch, from those that the step keeps for it anyway.

A tensor that the slow branch may want lives until the step's end, and what reads it
cannot take over its memory: a ReLU then writes into new memory where it would have
written in place, and its cost doubles. What a proof shows to be made by cheap operations
from tensors that are kept is made once more instead, by the same operations, in the steps
that are looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

Within = Callable[[Any], Any]

# Operations that `again` repeats bit by bit: one elementwise pass or none.
CHEAP: Final = frozenset(
    (
        *("Abs", "Add", "AddV2", "BiasAdd", "Cast", "Identity", "Mul"),
        *("Maximum", "Minimum", "Neg", "Relu", "Relu6", "Reshape", "Square", "Sub"),
        *("StopGradient",),
    )
)
# These are not cheap, and may differ in the last bit. They are made again where they are
# to be read by nobody else.
_REPEATED: Final = CHEAP | frozenset(
    (
        *("Conv2D", "DepthwiseConv2dNative", "Elu", "Erf", "Erfc", "IdentityN"),
        *("MatMul", "RealDiv", "Sigmoid", "Softplus", "Tanh"),
    )
)
# What `raw_ops` calls by another name than the graph.
_RAW_NAMES: Final = {"StopGradient": "Identity"}


def again(op: Any, inputs: list[Any]) -> Any:
    """Returns the output of the same operation on other inputs.

    Args:
        op: an operation of the graph, of a type in `_REPEATED`.
        inputs: in the operation's order.
    """
    make = getattr(tf.raw_ops, _RAW_NAMES.get(op.type, op.type))
    names = [arg.name for arg in op.op_def.input_arg]
    arguments = dict(zip(names, inputs, strict=True))
    for name in inspect.signature(make).parameters:
        if name not in arguments and name != "name":
            value = op.get_attr(name)
            arguments[name] = value.decode() if isinstance(value, bytes) else value
    return make(**arguments)


def those_that_can(made: dict[int, Any]) -> dict[int, Any]:
    """Returns the part of `made` that can be made again.

    Args:
        made: by the ids of tensors the operations that make them, each after those that
            its inputs come from. All other tensors are kept.
    """
    able: dict[int, Any] = {}
    for key, op in made.items():
        if op.type in _REPEATED and all(
            id(t) in able or id(t) not in made for t in op.inputs
        ):
            able[key] = op
    return able


def make_again(tensors: list[Any], made: dict[int, Any], within: Within) -> list[Any]:
    """Returns tensors made again.

    Args:
        tensors: any.
        made: the operations of those that are not kept, as `those_that_can` returns.
        within: returns a kept tensor as it is to be used there.
    """
    copies: dict[int, Any] = {}

    def copy(tensor: Any) -> Any:
        if id(tensor) not in copies:
            op = made.get(id(tensor))
            if op is None:
                copies[id(tensor)] = within(tensor)
            elif op.type == "IdentityN":
                copies[id(tensor)] = copy(op.inputs[tensor.value_index])
            else:
                copies[id(tensor)] = again(op, [copy(t) for t in op.inputs])
        return copies[id(tensor)]

    return [copy(t) for t in tensors]
