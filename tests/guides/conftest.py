"""TensorFlow on the CPU, and a clean Keras for every test."""

from tests.clean_keras import clean_keras

__all__ = ["clean_keras"]
