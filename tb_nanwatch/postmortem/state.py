# SPDX-License-Identifier: Apache-2.0
"""Sets the state that a step depends on from a capsule, and restores it afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem import attributes
from tb_nanwatch.postmortem.capsule import Capsule, SavedVariable
from tb_nanwatch.postmortem.tape import set_value
from tb_nanwatch.postmortem.variables import variables_of


def snapshot(model: Any) -> list[SavedVariable]:
    """Returns the values of all that a training step can change."""
    return [
        SavedVariable(role, v.path, np.array(v.numpy()))
        for role, v in variables_of(model)
    ]


def assign(model: Any, saved: list[SavedVariable]) -> list[str]:
    """Sets the model's variables.

    Returns:
        What was not set because it is missing, in words.

    Raises:
        CapsuleError: the model's variables are not those that were saved.
    """
    roles = list(dict.fromkeys(role for role, _ in variables_of(model)))
    missing: list[str] = []
    assignments: list[tuple[Any, Any]] = []
    for role in dict.fromkeys([*roles, *(s.role for s in saved)]):
        mine = [v for r, v in variables_of(model) if r == role]
        theirs = [s for s in saved if s.role == role]
        if not theirs and role == "metric":
            model.reset_metrics()  # its sums so far were finite, and play no other part
            continue
        if not theirs and role != "random":
            missing.append(f"no {role} variables were kept")
        if not theirs:
            continue
        if len(mine) != len(theirs):
            raise CapsuleError(
                f"the model has {len(mine)} {role} variables, the capsule {len(theirs)}; "
                "expected the model that was trained"
            )
        for variable, value in zip(mine, theirs, strict=True):
            if value.value is None:
                missing.append(f"{value.path} was not kept")
            elif tuple(variable.shape) != value.value.shape:
                raise CapsuleError(
                    f"{variable.path} has the shape {list(variable.shape)}, in the capsule "
                    f"{list(value.value.shape)}; expected the model that was trained"
                )
            else:
                assignments.append((variable, value.value))
    for variable, array in assignments:
        set_value(variable, array)
    return missing


@contextlib.contextmanager
def preserved(model: Any) -> Iterator[None]:
    """Restores variables, attributes and random state when the block ends, however it ends.

    On TensorFlow; what else this module does is the same on every backend.
    """
    before = [(v, np.array(v.numpy())) for _, v in variables_of(model)]
    with random_state_kept(), attributes.kept(model):
        try:
            yield
        finally:
            for variable, value in before:
                set_value(variable, value)


@contextlib.contextmanager
def random_state_kept(tensorflow: bool = True) -> Iterator[None]:
    """Restores the random state when the block ends, however it ends.

    Args:
        tensorflow: that of its eager operations too, and not only Python's and NumPy's.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    rng = None
    if tensorflow:  # other backends have none of its private names
        from tb_nanwatch.compat.tensorflow import eager_random

        rng = eager_random()
    drawn = rng.getstate() if rng is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if rng is not None and drawn is not None:
            rng.setstate(drawn)


def renamed(model: Any, capsule: Capsule) -> Capsule:
    """Returns the capsule with its tensors named as in `model`.

    Keras numbers names by what the process made before, and names an optimizer's
    variables by where it was built; the order of variables stays.
    """
    now: dict[str, list[str]] = {}
    for role, variable in variables_of(model):
        now.setdefault(role, []).append(variable.path)
    paths: dict[str, str] = {}
    parts: dict[str, str] = {}
    for role in now:
        then = [s.path for s in capsule.variables if s.role == role]
        for old, new in zip(then, now[role], strict=False):
            if role.startswith("optimizer"):
                paths[old] = new
            elif role == "model" and old.count("/") == new.count("/"):
                parts.update(zip(old.split("/"), new.split("/"), strict=True))

    def name(tensor: Any) -> Any:
        if tensor.kind == "optimizer":
            return dataclasses.replace(tensor, name=paths.get(tensor.name, tensor.name))
        split = tensor.name.split("/")
        return dataclasses.replace(tensor, name="/".join(parts.get(p, p) for p in split))

    return dataclasses.replace(
        capsule,
        origin=name(capsule.origin),
        bad=[name(b) for b in capsule.bad],
        sums=[name(s) for s in capsule.sums],
    )
