"""Keras' default on a GPU, on a machine without one.

`jit_compile="auto"`, the default of `compile`, is True where TensorFlow sees a device
other than a CPU and the model's layers allow it. What it comes to is decided in
`compile`, so that is what has to happen here within the context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tensorflow as tf

_GPU = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")


@contextlib.contextmanager
def gpu_default() -> Iterator[None]:
    """Resolves `jit_compile="auto"` as on a machine on which Keras sees a GPU.

    The question for all devices is answered with one GPU more. Whoever asks for the
    devices of a type gets those that are there: nothing is placed on the GPU. So do LSTM
    and GRU, which leave their work to cuDNN where there is a GPU, and are not compiled
    then; here they are compiled, as with `use_cudnn=False`.
    """
    devices = tf.config.list_physical_devices

    def with_gpu(device_type: str | None = None) -> list[Any]:
        found = list(devices(device_type))
        return found if device_type is not None else [*found, _GPU]

    with mock.patch.object(tf.config, "list_physical_devices", with_gpu):
        yield
