# SPDX-License-Identifier: Apache-2.0
"""The variables that a step depends on and can change, whatever Keras runs on."""

from __future__ import annotations

from typing import Any

import keras

from tb_nanwatch.compat.keras import global_seed_generator


def trained_variables(model: Any) -> list[tuple[str, Any]]:
    """Returns role and Keras variable of the model and of all its optimizers.

    Roles and order are those of `SavedVariable`.
    """
    found: list[tuple[str, Any]] = [("model", v) for v in model.variables]
    listed = [model.optimizer]
    if model.optimizer is not None:
        found += [("optimizer", v) for v in model.optimizer.variables]
    for name, value in vars(model).items():
        if isinstance(value, keras.optimizers.Optimizer) and value not in listed:
            listed.append(value)
            found += [(f"optimizer:{name}", v) for v in value.variables]
    return found


def state_variables(model: Any) -> list[tuple[str, Any]]:
    """Returns role and Keras variable of all that the next step depends on.

    Roles and order are those of `SavedVariable`.
    """
    found = trained_variables(model)
    generator = global_seed_generator()
    return found if generator is None else [*found, ("random", generator.state)]


def variables_of(model: Any) -> list[tuple[str, Any]]:
    """Returns role and Keras variable of all that a training step can change.

    Roles and order are those of `SavedVariable`.
    """
    found = trained_variables(model)
    seen = {id(v) for v in model.variables}
    found += [("metric", v) for v in model.metrics_variables if id(v) not in seen]
    generator = global_seed_generator()
    if generator is not None:
        found.append(("random", generator.state))
    return found
