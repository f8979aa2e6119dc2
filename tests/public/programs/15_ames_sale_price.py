"""House prices in dollars as targets, features standardized, SGD.

Source: rstudio-conf-2020/dl-keras-tf, issue 9 (a workshop's project on the Ames data): loss
and val_loss are NaN from the first epoch. Reason, as told there: the prices reach 755,000,
and their squared errors explode. Answer: the logarithm of the price (the workshop changed to
mean_squared_logarithmic_error).
"""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 2,
    "operation": None,
    "line_text": None,
    "causes": ["unscaled_targets", "unscaled_data"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "unscaled_inputs"],
    "fix": "targets of ordinary size: log of the price, or standardized",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(15)
    rng = np.random.default_rng(15)
    houses = rng.normal(size=(2051, 30)).astype("float32")
    price = 180000.0 * np.exp(houses[:, :4].sum(axis=1) / 5.0 + rng.normal(0, 0.1, 2051))
    price = price.astype("float32")
    if fixed:
        price = np.log(price / 180000.0)
    model = keras.Sequential(
        [
            keras.Input((30,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model.fit(
        houses,
        price,
        batch_size=16,
        epochs=4,
        validation_split=0.2,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
