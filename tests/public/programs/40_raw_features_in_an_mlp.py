"""A small multilayer perceptron, SGD with Nesterov momentum, features as they were measured.

Source: Keras, issue 510: the loss is NaN unless gradients are clipped, with data that another
library trains on. Reason and answer, as Keras' author gives them: the cause is likely in the
data; each dimension ought to have mean 0 and variance 1, and then a simple perceptron's
gradients never explode.
"""

import sys

import keras
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 2,
    "operation": None,
    "line_text": None,
    "causes": ["unscaled_inputs"],
    "never": ["nonfinite_data", "loss_domain", "unscaled_targets", "label_range"],
    "fix": "features of mean 0 and variance 1",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(40)
    rng = np.random.default_rng(40)
    x = rng.normal(size=(960, 12))
    y = (x[:, :3].sum(axis=1, keepdims=True) / 2.0 + np.sin(x[:, 3:4])).astype("float32")
    x = x * rng.uniform(5.0, 200.0, 12) + rng.uniform(0.0, 500.0, 12)
    if fixed:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=1e-6), "mse"
    )
    return model.fit(
        x.astype("float32"),
        y,
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
