"""A survival network with Cox's partial likelihood, on features of very different sizes.

Source: jaredleekatzman/DeepSurv, issue 14: the first loss is 2.8e10, all later ones are NaN, on
two public data sets. Reason: features that were not normalized make log hazards whose
exponential overflows. Answer: normalize them.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.math.exp"],
    "line_text": "ops.exp(risk)",
    "chain": ["got the argument"],
    "causes": ["unscaled_inputs", "loss_domain"],
    "never": ["nonfinite_data", "label_range", "layer_domain", "outlier_data"],
    "fix": "normalize the features; log-sum-exp instead of exp",
}


def partial_likelihood(y_true, y_pred):
    time, happened = y_true[:, 0], y_true[:, 1]
    order = ops.flip(ops.argsort(time), axis=0)
    risk, happened = ops.take(y_pred[:, 0], order), ops.take(happened, order)
    at_risk = ops.log(ops.cumsum(ops.exp(risk)))
    return -ops.sum((risk - at_risk) * happened) / (ops.sum(happened) + 1.0)


def main(logs, fixed=False):
    keras.utils.set_random_seed(56)
    rng = np.random.default_rng(56)
    age = rng.uniform(20.0, 95.0, 640)
    day = rng.uniform(4000.0, 12000.0, 640)
    creatinine = rng.lognormal(0.0, 0.4, 640)
    hazard = 0.04 * (age - 60.0) + 0.5 * creatinine
    time = rng.exponential(np.exp(-hazard))
    x = np.stack([age, day, creatinine], axis=1).astype("float32")
    if fixed:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = np.stack([time, rng.uniform(size=640) < 0.7], axis=1).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), partial_likelihood)
    return model.fit(
        x,
        y,
        batch_size=64,
        epochs=6,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
