# SPDX-License-Identifier: Apache-2.0
"""Checks whether a training can be watched, before a backend is imported."""

from __future__ import annotations

from typing import Any, Final

import keras

from tb_nanwatch.errors import UnsupportedError

# By the name that Keras gives a backend, its own.
BACKENDS: Final = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}
# What a model has to have that Keras' `fit` trains; classes that mix Keras' Trainer into
# a layer have it as `keras.Model` has.
_TRAINER: Final = ("train_step", "test_step", "compute_loss", "make_train_function")


def check_backend() -> None:
    """Raises `UnsupportedError` where Keras runs on a backend that cannot be watched."""
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        *some, last = BACKENDS.values()
        names = f"{', '.join(some)} and {last}" if some else last
        values = " or ".join(f'"{name}"' for name in BACKENDS)
        raise UnsupportedError(
            f"NaN Watch watches Keras 3 on {names}; the backend here is {backend!r}. "
            f"Set the environment variable KERAS_BACKEND={values} before importing keras."
        )


def check_model(model: Any) -> None:
    """Raises `UnsupportedError` unless `model` is a Keras 3 model that `fit` can train."""
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if any(cls.__module__.split(".")[0] == "tf_keras" for cls in type(model).__mro__):
        raise UnsupportedError(
            f"NaN Watch watches Keras 3 models; received {kind}, which is of Keras 2. "
            "Build the model with `keras`, not with `tf_keras`."
        )
    if not isinstance(model, keras.Layer) or not all(
        callable(getattr(model, name, None)) for name in _TRAINER
    ):
        raise UnsupportedError(
            f"NaN Watch watches Keras 3 models; received {kind}. Expected a `keras.Model`, "
            "or a `keras.Layer` with Keras' own training methods."
        )
