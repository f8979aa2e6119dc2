"""A training in mixed_float16 whose first steps overflow under the loss scale.

python scaled_fit.py LOGDIR
"""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

keras.utils.set_random_seed(0)
keras.mixed_precision.set_global_policy("mixed_float16")
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
model = keras.Sequential(
    [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
)
# A gradient of some 30 times 2^15 is more than float16 holds: the scale has to fall.
model.compile(keras.optimizers.SGD(1e-6), "mse")
watch = NanWatch(sys.argv[1], hparams={"learning_rate": 1e-6})
model.fit(x, 10 * x[:, :1] + 20, batch_size=8, epochs=3, verbose=0, callbacks=[watch])
