# SPDX-License-Identifier: Apache-2.0
"""Which of a step's values belongs to which variable, and values at one moment."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tb_nanwatch.compat import jax as private
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.record.schema import Phase


def variables_in(model: Any, phase: Phase, state: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the variables of a step's state, each with its value in it.

    A part that has not as many values as the model has variables is left out: it is not
    known which is which.

    Args:
        model: whose step it is.
        phase: of the step.
        state: that the step takes, or returns.
    """
    for variables, values in zip(parts_of(model, phase), state, strict=False):
        if len(variables) == len(values):
            yield from zip(variables, values, strict=True)


def is_whole(model: Any, phase: Phase, state: Any) -> bool:
    """Returns whether a state has a value for each variable of each of its parts."""
    parts = parts_of(model, phase)
    return (
        isinstance(state, tuple | list)
        and len(state) == len(parts)
        and all(
            isinstance(values, tuple | list) and len(values) == len(variables)
            for variables, values in zip(parts, state, strict=True)
        )
    )


def parts_of(model: Any, phase: Phase) -> list[list[Any]]:
    """Returns the variables of each part of a state, as Keras' JAX trainer has them."""
    optimizer = [] if model.optimizer is None else list(model.optimizer.variables)
    parts = [
        list(model.trainable_variables),
        list(model.non_trainable_variables),
        optimizer,
        list(model.metrics_variables),
    ]
    return parts if phase == "train" else [parts[0], parts[1], parts[3]]


def copy_of(leaf: Any) -> Any:
    """Returns a value with a buffer of its own, which a step may be given for good.

    It is what a compiled step takes without another trace: nothing is compiled for it.
    """
    where = leaf.sharding if leaf.committed else None
    return jax.device_put(leaf, where, may_alias=False)


def state_of(model: Any, phase: Phase, other: Any = None) -> tuple[list[Any], ...]:
    """Returns the state of a step, as a model's variables have it.

    Args:
        model: that is or was trained.
        phase: of the step.
        other: a state of the same step, for the variables that have no value: Keras takes
            theirs while it trains.
    """
    if other is None:
        return tuple([v.value for v in part] for part in parts_of(model, phase))
    return tuple(
        [
            value if private.value_of(variable) is None else variable.value
            for variable, value in zip(part, values, strict=True)
        ]
        for part, values in zip(parts_of(model, phase), other, strict=True)
    )


def arrays_on_device(data: Any) -> Any:
    """Returns a batch of arrays as a training step receives it."""
    spread = keras.distribution.distribution()

    def place(leaf: Any) -> Any:
        if spread is None:
            return jnp.asarray(leaf)
        layout = spread.get_data_layout(leaf.shape)
        return keras.distribution.distribute_tensor(jnp.asarray(leaf), layout)

    return jax.tree.map(place, data)


class Held:
    """The values of Keras variables, copied on their own device.

    Args:
        variables: whose values they are.
        values: theirs.
        donated: whether a step gives its state away; else it needs no copy.
    """

    def __init__(
        self, variables: Sequence[Any], values: Sequence[Any], donated: bool
    ) -> None:
        self._variables, self._donated = variables, donated
        self._values = [self._copy(value) for value in values]

    def _copy(self, value: Any) -> Any:
        return copy_of(value) if self._donated else value

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(int(value.nbytes) for value in self._values)

    def restore(self) -> None:
        """Sets the variables to the values that are held."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(self._copy(value))


@contextlib.contextmanager
def preserved(model: Any) -> Iterator[None]:
    """Puts variables and random state back as they were, whatever happens within.

    Raises:
        MissingError: of `Feature.EXPERIMENTS_ON_JAX`.
    """
    # Between two steps of a training Keras keeps its values elsewhere.
    before = [(v, private.value_of(v)) for _, v in variables_of(model)]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        for variable, value in before:
            private.put_back(variable, value)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
