"""A clean Keras for every test; imported by the conftest.py of each folder that trains."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest

from tests.support.garbage import set_graphs_aside

# What importing TensorFlow leaves is searched by no later search, either.
set_graphs_aside()


@pytest.fixture(autouse=True)
def clean_keras() -> Iterator[None]:
    """Layers are named from the start, and numbers drawn from the same seed."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    # What Keras itself still holds goes first: what is set aside never goes.
    keras.backend.clear_session()
    set_graphs_aside()
