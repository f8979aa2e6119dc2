"""Whether Keras' backend can be watched: asked before TensorFlow is imported."""

from __future__ import annotations

import keras

from tb_nanwatch.errors import UnsupportedError


def check_backend() -> None:
    """Raises `UnsupportedError` where Keras runs on anything but TensorFlow."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UnsupportedError(
            f"NaN Watch watches Keras 3 on TensorFlow; the backend here is {backend!r}. "
            'Set the environment variable KERAS_BACKEND="tensorflow" before importing keras.'
        )
