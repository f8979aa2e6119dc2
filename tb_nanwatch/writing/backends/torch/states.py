# SPDX-License-Identifier: Apache-2.0
"""The values of variables, and of PyTorch's generator, at one moment."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from tb_nanwatch.postmortem import state
from tb_nanwatch.postmortem.capsule import SavedVariable
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.writing.backends.torch.capture import GENERATOR
from tb_nanwatch.writing.backends.torch.sums import array_of


class Held:
    """The values of Keras variables, copied on their own device."""

    def __init__(self, variables: Sequence[Any]) -> None:
        self._values = [(v, v.value.detach().clone()) for v in variables]
        self._drawn = torch.get_rng_state()

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(value.nbytes for _, value in self._values)

    def restore(self) -> None:
        """Sets the variables to the values that are held."""
        with torch.no_grad():
            for variable, value in self._values:
                variable.value.copy_(value)
        torch.set_rng_state(self._drawn)


def snapshot(model: Any) -> list[SavedVariable]:
    """Returns the values of all that a training step can change."""
    saved = [
        SavedVariable(role, v.path, np.array(array_of(v.value)))
        for role, v in variables_of(model)
    ]
    return [*saved, SavedVariable(GENERATOR, "", torch.get_rng_state().numpy())]


def assign(model: Any, variables: Sequence[SavedVariable]) -> list[str]:
    """Sets the model to its state from before a step; the sums of metrics to none.

    Returns:
        What was not set because it is missing, in words.

    Raises:
        CapsuleError: the model's variables are not those that were saved.
    """
    missing = state.assign(model, [s for s in variables if s.role != GENERATOR])
    for saved in variables:
        if saved.role == GENERATOR and saved.value is not None:
            torch.set_rng_state(torch.as_tensor(saved.value))
    return missing


@contextlib.contextmanager
def preserved(model: Any) -> Iterator[None]:
    """Puts variables, gradients, mode and random state back, whatever happens within."""
    variables = [v for _, v in variables_of(model)]
    before = Held(variables)
    gradients = [(v.value, v.value.grad) for v in variables if v.value.is_leaf]
    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        before.restore()
        for tensor, gradient in gradients:
            tensor.grad = gradient
        for module, training in modes:
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
