# SPDX-License-Identifier: Apache-2.0
"""The five models that overhead is measured on, with their data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def mlp(jit_compile: bool | str = "auto") -> tuple[Any, Any]:
    """Returns (a): 10-128-1 at batch 32, the hardest case; about 1 ms a step."""
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3200, 10)).astype("float32")
    return model, _dataset(x, x.sum(1, keepdims=True), 32)


def conv(jit_compile: bool | str = "auto") -> tuple[Any, Any]:
    """Returns (b): ten convolutions with batch normalisation, 32x32x3, batch 64."""
    layers = [keras.Input((32, 32, 3))]
    for i in range(10):
        strides = 2 if i in (3, 6) else 1
        layers += [
            keras.layers.Conv2D(32, 3, padding="same", strides=strides),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(640, 32, 32, 3)).astype("float32")
    return model, _dataset(x, rng.integers(0, 10, 640), 64)


def transformer(jit_compile: bool | str = "auto") -> tuple[Any, Any]:
    """Returns (c): an encoder of 4 layers, width 128, sequence 64, batch 32."""
    tokens = keras.Input((64,), dtype="int32")
    h = keras.layers.Embedding(1000, 128)(tokens)
    for _ in range(4):
        attended = keras.layers.MultiHeadAttention(4, 32)(h, h)
        h = keras.layers.LayerNormalization()(keras.layers.Add()([h, attended]))
        wide = keras.layers.Dense(512, activation="relu")(h)
        fed = keras.layers.Dense(128)(wide)
        h = keras.layers.LayerNormalization()(keras.layers.Add()([h, fed]))
    out = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(h))
    model = keras.Model(tokens, out)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1000, (320, 64)).astype("int32")
    return model, _dataset(x, rng.integers(0, 10, 320), 32)


def resnet(jit_compile: bool | str = "auto") -> tuple[Any, Any]:
    """Returns (d): Keras' ResNet50 at 64x64, batch 16; 23.6 million weights."""
    model = keras.applications.ResNet50(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 64, 64, 3)).astype("float32")
    return model, _dataset(x, rng.integers(0, 10, 64), 16)


def lstm(jit_compile: bool | str = "auto") -> tuple[Any, Any]:
    """Returns (e): two LSTMs of 128, sequence 50, batch 32."""
    model = keras.Sequential(
        [
            keras.Input((50, 16)),
            keras.layers.LSTM(128, return_sequences=True),
            keras.layers.LSTM(128),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(640, 50, 16)).astype("float32")
    return model, _dataset(x, x.mean((1, 2), keepdims=True)[:, 0], 32)


def _dataset(x: Any, y: Any, batch: int) -> Any:
    """Returns the batches again and again: of `tf.data` where Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return _forever(x, y, batch)
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((x, y))
    return data.batch(batch, drop_remainder=True).cache().repeat().prefetch(4)


def _forever(x: Any, y: Any, batch: int) -> Iterator[Any]:
    while True:
        for start in range(0, len(x) - batch + 1, batch):
            yield x[start : start + batch], y[start : start + batch]


MODELS = {
    "mlp": mlp,
    "conv": conv,
    "transformer": transformer,
    "resnet": resnet,
    "lstm": lstm,
}
# Steps of one timed stretch, which is an epoch: a second or less each, so that a round
# of several rows lasts a few seconds, and what an epoch's end costs weighs as it does
# in short epochs.
STRETCH = {"mlp": 300, "conv": 8, "transformer": 10, "resnet": 2, "lstm": 20}
