# SPDX-License-Identifier: Apache-2.0
"""Changes to a step's computation: its precision, one operation, one variable."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tb_nanwatch.compat.keras import (
    compiled_loss,
    single_losses,
)
from tb_nanwatch.postmortem import epsilon
from tb_nanwatch.postmortem.attributes import layers_of
from tb_nanwatch.postmortem.changing import Altered, Case, NotApplicableError
from tb_nanwatch.postmortem.tape import set_value
from tb_nanwatch.postmortem.variables import trained_variables


@contextlib.contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Switches layers and losses from float16 to float32 until the block ends.

    What the variables are kept in stays.

    Raises:
        NotApplicableError: nothing is computed in float16.
    """
    half = [
        layer
        for layer in layers_of(model)
        if getattr(layer, "compute_dtype", None) == "float16"
    ]
    compiled = compiled_loss(model)
    # A train_step of the user's own may need none.
    flat = single_losses(compiled) if compiled is not None else ()
    parts = [getattr(part, "loss", None) for part in flat]
    losses = {id(loss): loss for loss in (compiled, *parts) if _is_half(loss)}
    if not half and not losses:
        raise NotApplicableError("nothing is computed in float16")
    floatx = keras.config.floatx()
    policies = [(layer, layer.dtype_policy) for layer in half]
    classes = [(loss, type(loss)) for loss in losses.values()]
    try:
        if floatx == "float16":
            keras.config.set_floatx("float32")
        for layer in half:
            layer.dtype_policy = keras.DTypePolicy("float32")
        for loss, cls in classes:
            # Its dtype can be read alone.
            loss.__class__ = type(cls.__name__, (cls,), {"dtype": "float32"})
        yield
    finally:
        for loss, cls in classes:
            loss.__class__ = cls
        for layer, policy in policies:
            layer.dtype_policy = policy
        keras.config.set_floatx(floatx)


def _is_half(loss: Any) -> bool:
    return isinstance(loss, keras.losses.Loss) and loss.dtype == "float16"


@contextlib.contextmanager
def computed_in_float32(case: Case) -> Iterator[Altered]:
    """Changes the training to compute in float32 where it computes in float16."""
    with in_float32(case.model):
        yield Altered()


@contextlib.contextmanager
def with_epsilon(case: Case) -> Iterator[Altered]:
    """Adds a small number to the argument of the operation that made the first bad value."""
    op_type = case.found.forward_type
    if op_type is None or case.calls is None or not epsilon.applies(op_type):
        raise NotApplicableError("no division, logarithm or root is to blame")
    with epsilon.added(op_type, case.found.source, case.calls) as changed:
        yield Altered()
    if not changed:
        raise NotApplicableError("the operation could not be changed")


@contextlib.contextmanager
def begun_with_1(case: Case) -> Iterator[Altered]:
    """Initializes the variable that the failing step divides by to 1."""
    link = case.found.chain[0] if case.found.chain else None
    if link is None or link.origin != "variable" or link.operand != "denominator":
        raise NotApplicableError("no variable is divided by as it stands")
    if case.onset or not case.trains:
        raise NotApplicableError("steps came before the failing one")
    named = [v for _, v in trained_variables(case.model) if v.path == link.name]
    if len(named) != 1:
        raise NotApplicableError(f"{len(named)} variables are called {link.name}")

    def begun() -> None:
        set_value(named[0], np.ones(named[0].shape, named[0].dtype))

    yield Altered(begun=begun, text=f"{link.name} begun with 1")
