"""What `jit_compile="auto"`, Keras' default, means on a machine with a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import keras
import tensorflow as tf


@contextmanager
def gpu_default() -> Iterator[None]:
    """Within, Keras resolves `jit_compile="auto"` as where it sees a GPU.

    Only Keras' own question whether a device other than a CPU is visible is answered
    otherwise; what else Keras asks (whether the layers can be compiled by XLA) stays.
    """
    resolve = keras.Model._resolve_auto_jit_compile
    visible = tf.config.list_physical_devices

    def devices(device_type: str | None = None) -> list[Any]:
        found = list(visible(device_type))
        return found if device_type else [*found, SimpleNamespace(device_type="GPU")]

    def resolve_as_with_a_gpu(model: Any) -> Any:
        with mock.patch.object(tf.config, "list_physical_devices", devices):
            return resolve(model)

    with mock.patch.object(
        keras.Model, "_resolve_auto_jit_compile", resolve_as_with_a_gpu
    ):
        yield
