"""Imputation of a table, trained on filled-in targets, validated on targets with gaps.

Source: WenjieDu/PyPOTS, issue 232: if the intact data of the validation set has missing values
of its own, the validation loss is NaN, and the training ends with an error; the training loss
is ordinary. Reason: the training set's are filled in by the library, those of the validation
set are not, and 0 times NaN is NaN. Answer: fill them in as well, the mask leaves them out.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": "validation",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["nonfinite_data"],
    "never": ["learning_rate", "loss_domain", "layer_domain", "unscaled_targets"],
    "fix": "fill in the validation targets as well",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(39)
    rng = np.random.default_rng(39)
    common = rng.normal(size=(800, 2))
    table = common @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(800, 10))
    table[rng.random(table.shape) < 0.1] = np.nan  # never measured
    known = ~np.isnan(table)
    hidden = known & (rng.random(table.shape) < 0.2)  # taken out, to be told
    x = np.where(known & ~hidden, table, 0.0).astype("float32")
    intact = table.astype("float32")
    intact[:640] = np.nan_to_num(intact[:640])
    if fixed:
        intact = np.nan_to_num(intact)
    target = np.stack([intact, hidden.astype("float32")], axis=-1)

    def of_hidden(y_true, y_pred):
        value, mask = y_true[..., 0], y_true[..., 1]
        return ops.sum(mask * ops.square(value - y_pred)) / (ops.sum(mask) + 1e-9)

    model = keras.Sequential(
        [keras.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(10)]
    )
    model.compile(keras.optimizers.Adam(0.01), of_hidden)
    return model.fit(
        x[:640],
        target[:640],
        validation_data=(x[640:], target[640:]),
        batch_size=32,
        epochs=5,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
