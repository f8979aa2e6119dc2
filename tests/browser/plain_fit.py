"""One plain fit into the directory given: data of size 1,000, or with "scaled" of size 1."""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
size = 1 if sys.argv[2:] == ["scaled"] else 1000
x = size * rng.random((1000, 10)).astype("float32")
y = size * rng.random(1000).astype("float32")
model = keras.Sequential(
    [
        keras.Input((10,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(1),
    ]
)
model.compile(keras.optimizers.SGD(0.01), "mse")
model.fit(x, y, epochs=2, verbose=0, callbacks=[NanWatch(sys.argv[1])])
