# SPDX-License-Identifier: Apache-2.0
"""The set-up of a training in the form that is logged: model, optimizer, loss, versions."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import keras

import tb_nanwatch
from tb_nanwatch.compat.keras import replicas_of
from tb_nanwatch.record.schema import Config
from tb_nanwatch.writing.values import plain


@dataclass
class TrainingSetup:
    """The set-up of a training; fields as in `schema.SessionRecord`."""

    model: str = ""
    optimizer: Config = field(default_factory=dict)
    loss: str = ""
    label_interval: list[float] = field(default_factory=list)
    precision: str = ""
    replicas: int = 1
    jit_compile: bool = False
    steps_per_execution: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    epochs_planned: int | None = None
    steps_per_epoch: int | None = None


def environment_of(model: Any, params: Mapping[str, Any] | None) -> TrainingSetup:
    """Returns the set-up of a training; `params` are those that Keras gives a callback."""
    versions = {
        "python": sys.version.split()[0],
        "tb_nanwatch": tb_nanwatch.__version__,
        "keras": keras.__version__,
    }
    for name in ("tensorflow", keras.backend.backend(), "keras_tuner", "numpy"):
        module = sys.modules.get(name)
        if module is not None:
            versions[name] = str(getattr(module, "__version__", ""))
    epochs, steps = ((params or {}).get(name) for name in ("epochs", "steps"))
    return TrainingSetup(
        model=f"{type(model).__name__} {model.name!r}",
        optimizer=_optimizer(model),
        loss=_loss_name(model),
        label_interval=_label_interval(model),
        precision=str(getattr(model.dtype_policy, "name", "")),
        replicas=replicas_of(model),
        jit_compile=model.jit_compile is True,
        steps_per_execution=int(model.steps_per_execution),
        versions=versions,
        epochs_planned=epochs if isinstance(epochs, int) else None,
        steps_per_epoch=steps if isinstance(steps, int) else None,
    )


def _optimizer(model: Any) -> Config:
    if model.optimizer is None:
        return {}
    try:
        with warnings.catch_warnings():
            # On JAX Keras reads a variable as NumPy 2 says that it should not be.
            warnings.simplefilter("ignore", DeprecationWarning)
            config = dict(model.optimizer.get_config())
    except Exception:  # a user's own optimizer without a configuration
        config = {}
    return {"class_name": type(model.optimizer).__name__, **plain(config)}


def loss_scale_of(model: Any) -> float | None:
    """Returns the scale of the loss as training begins, None where there is none."""
    optimizer = model.optimizer
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return None
    # An optimizer has no scale before it is built, and `built` may be set on one that never was.
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is None:
        return float(optimizer.initial_scale)
    return float(keras.ops.convert_to_numpy(scale.value))


def loss_scale_name(model: Any) -> str:
    """Returns the path of the loss scale's variable, "" where there is none."""
    return str(getattr(getattr(model.optimizer, "dynamic_scale", None), "path", ""))


# Losses whose formula is unbounded below for labels outside of 0 to 1: they weigh logarithms
# of probabilities by the labels.
_CROSS_ENTROPIES: Final = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
)
_CROSS_ENTROPY_FUNCTIONS: Final = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
)


def _label_interval(model: Any) -> list[float]:
    """Returns the interval of labels that Keras' own losses of a model are made for."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    losses = [loss for loss in losses if loss is not None]
    return [0.0, 1.0] if losses and all(map(_is_cross_entropy, losses)) else []


def _is_cross_entropy(loss: Any) -> bool:
    if isinstance(loss, str):
        with contextlib.suppress(Exception):  # Keras says what it does not know
            loss = keras.losses.get(loss)
    # Not a user's subclass of a loss: it may compute anything.
    is_function = any(loss is function for function in _CROSS_ENTROPY_FUNCTIONS)
    return is_function or type(loss) in _CROSS_ENTROPIES


def _loss_name(model: Any) -> str:
    loss = getattr(model, "loss", None)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return str(name or loss or "")[:200]
