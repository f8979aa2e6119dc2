"""On a CPU, `jit_compile="auto"` is what it is on a GPU, within the context alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.gpu_default import gpu_default

L = keras.layers


class OnHost(keras.Layer):
    """Calls back into Python, which XLA cannot compile."""

    def call(self, x: Any) -> Any:
        y = tf.numpy_function(lambda a: a, [x], x.dtype, stateful=False)
        y.set_shape(x.shape)
        return tf.stop_gradient(y) - tf.stop_gradient(x) + x

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def model(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((4, 3)), *layers, L.Dense(1)])


def jit_of(made: Any, **options: Any) -> bool:
    made.compile("sgd", "mse", **options)
    return bool(made.jit_compile)


def test_dense_layers_are_compiled_within_and_not_outside() -> None:
    assert not jit_of(model(L.Dense(2)))
    with gpu_default():
        assert jit_of(model(L.Dense(2)))
    assert not jit_of(model(L.Dense(2)))


def test_it_is_undone_by_an_exception_too() -> None:
    before = tf.config.list_physical_devices
    with pytest.raises(RuntimeError, match="planned"), gpu_default():
        raise RuntimeError("planned")
    assert tf.config.list_physical_devices is before
    assert not jit_of(model())


def test_what_keras_does_not_compile_is_not_compiled() -> None:
    with gpu_default():
        assert not jit_of(keras.Sequential([L.RandomZoom(0.1), L.Dense(1)]))
        assert not jit_of(model(), run_eagerly=True)
        assert not jit_of(model(), jit_compile=False)
        with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
            made = model()
            assert not jit_of(made)


def test_no_device_is_made_up_for_who_asks_for_its_type() -> None:
    cpus = tf.config.list_physical_devices("CPU")
    every = tf.config.list_physical_devices()
    with gpu_default():
        assert tf.config.list_physical_devices("CPU") == cpus
        assert tf.config.list_physical_devices("GPU") == []
        assert [d.device_type for d in tf.config.list_physical_devices()] == [
            *(d.device_type for d in every),
            "GPU",
        ]


def test_training_is_really_compiled() -> None:
    x, y = np.ones((4, 4, 3), "float32"), np.ones((4, 4, 1), "float32")
    outside = model(OnHost())
    outside.compile("sgd", "mse")
    outside.fit(x, y, verbose=0)
    with gpu_default():
        within = model(OnHost())
        within.compile("sgd", "mse")
        with pytest.raises(Exception, match=r"XLA|compil"):
            within.fit(x, y, verbose=0)
        plain = model(L.Dense(2))
        plain.compile("sgd", "mse")
        plain.fit(x, y, verbose=0)
    assert plain.jit_compile
