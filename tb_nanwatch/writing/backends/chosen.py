# SPDX-License-Identifier: Apache-2.0
"""The backend that Keras runs on."""

from __future__ import annotations

import keras

from tb_nanwatch.writing.backends.interface import Backend
from tb_nanwatch.writing.supported import check_backend


def backend() -> Backend:
    """Returns the backend that Keras runs on, and imports that one alone.

    Raises:
        UnsupportedError: it is none that can be watched.
    """
    check_backend()
    if keras.backend.backend() == "jax":
        from tb_nanwatch.writing.backends import jax

        return jax
    if keras.backend.backend() == "torch":
        from tb_nanwatch.writing.backends import torch

        return torch
    from tb_nanwatch.writing.backends import tensorflow

    return tensorflow
