"""TensorFlow on two logical CPU devices, and a clean Keras for every test."""

from tests.clean_keras import clean_keras  # isort: skip, it sets TensorFlow's environment

import tensorflow as tf

__all__ = ["clean_keras"]

# MirroredStrategy needs two devices, and they cannot be made once TensorFlow runs.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
