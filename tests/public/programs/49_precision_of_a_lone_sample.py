"""Metric learning, the best epoch chosen by R-precision, with a class of one sample.

Source: KevinMusgrave/pytorch-metric-learning, issues 73 and 74: the score that the best model
is chosen by is NaN. Reason: R-precision divides by how many others there are of a sample's
class, which is 0 for the only one of its kind. Answer: leave such samples out.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": None,
    "step": None,
    "operation": ["tf.math.divide"],
    "line_text": "/ others",
    "causes": ["metric_domain"],
    "never": ["learning_rate", "loss_domain", "nonfinite_data", "layer_domain"],
    "fix": "leave samples out that are the only ones of their class",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(49)
    rng = np.random.default_rng(49)
    label = rng.integers(0, 6, 480)
    label[-3] = 6  # the only one of its kind, in the validation's part
    centre = rng.normal(size=(7, 10))
    x = (centre[label] + 0.8 * rng.normal(size=(480, 10))).astype("float32")

    def r_precision(y_true, y_pred):
        label = ops.reshape(y_true, (-1, 1))
        itself = ops.eye(ops.shape(label)[0])
        same = ops.cast(label == ops.transpose(label), "float32") - itself
        others = ops.sum(same, axis=1)
        if fixed:
            others = ops.maximum(others, 1.0)
        point = ops.normalize(y_pred, axis=-1)
        near = ops.matmul(point, ops.transpose(point)) - 9.0 * itself
        rank = ops.argsort(ops.argsort(-near, axis=1), axis=1)
        among = ops.cast(rank, "float32") < ops.sum(same, axis=1, keepdims=True)
        return ops.sum(same * ops.cast(among, "float32"), axis=1) / others

    model = keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(7),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.003),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[r_precision],
    )
    best = keras.callbacks.EarlyStopping(
        "val_r_precision", mode="max", patience=2, restore_best_weights=True
    )
    return model.fit(
        x,
        label,
        validation_split=0.25,
        batch_size=120,
        epochs=8,
        verbose=0,
        callbacks=[best, NanWatch(logs)] if logs else [best],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
