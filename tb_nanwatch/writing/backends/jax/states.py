"""Which of a step's values belongs to which variable of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
