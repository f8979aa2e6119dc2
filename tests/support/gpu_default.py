"""The GPU's default on a machine without one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tensorflow as tf
from keras.src.trainers.trainer import Trainer


@contextlib.contextmanager
def gpu_default() -> Iterator[None]:
    """Resolves `jit_compile="auto"` as Keras does where a GPU is visible.

    Keras asks TensorFlow for the devices; only that answer gets a GPU more, and only
    while Keras asks. What else speaks against XLA (layers that do not support it, a
    distribution strategy) is still heard.
    """
    resolve = Trainer._resolve_auto_jit_compile
    devices = tf.config.list_physical_devices
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")

    def with_gpu(device_type: str | None = None) -> list[Any]:
        return devices(device_type) + ([gpu] if device_type in (None, "GPU") else [])

    def resolve_as_on_gpu(model: Any) -> bool:
        with mock.patch.object(tf.config, "list_physical_devices", with_gpu):
            return bool(resolve(model))

    with mock.patch.object(Trainer, "_resolve_auto_jit_compile", resolve_as_on_gpu):
        yield
