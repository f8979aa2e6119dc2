"""A KerasTuner search for the best F1 score, a metric of one's own.

Source: netrack/keras-metrics, issue 14, and Keras, issue 8508: the F1 score is NaN, and once
it is, it stays so, while precision and recall are ordinary. Reason: in a batch without a
positive prediction the precision is 0 / 0. Answer: a small number in the denominators.
"""

import sys
import tempfile

import keras
import keras_tuner
import numpy as np
from keras import ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["score_lost"],
    "phase": None,
    "step": None,
    "operation": ["tf.math.divide"],
    "line_text": "precision",
    "causes": ["metric_domain"],
    "never": ["learning_rate", "loss_domain", "nonfinite_data", "layer_domain"],
    "fix": "a small number in the denominators of precision, recall and F1",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(12)
    rng = np.random.default_rng(12)
    x = rng.normal(size=(640, 6)).astype("float32")
    y = (x[:, :1] + x[:, 1:2] > 1.8).astype("float32")  # one in ten
    small = 1e-7 if fixed else 0.0

    def f1_score(y_true, y_pred):
        hits = ops.sum(ops.round(y_pred) * y_true)
        precision = hits / (ops.sum(ops.round(y_pred)) + small)
        recall = hits / (ops.sum(y_true) + small)
        return 2.0 * precision * recall / (precision + recall + small)

    def build(hp):
        model = keras.Sequential([keras.Input((6,))])
        for _ in range(hp.Int("layers", 1, 3)):
            model.add(keras.layers.Dense(hp.Int("units", 8, 32, step=8), "relu"))
        model.add(keras.layers.Dense(1, activation="sigmoid"))
        rate = hp.Float("learning_rate", 1e-3, 1e-2, sampling="log")
        model.compile(
            keras.optimizers.Adam(rate), "binary_crossentropy", metrics=[f1_score]
        )
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner = keras_tuner.RandomSearch(
            build,
            objective=keras_tuner.Objective("val_f1_score", "max"),
            max_trials=3,
            max_consecutive_failed_trials=10,
            seed=12,
            directory=directory,
            project_name="f1",
        )
        tuner.search(
            x,
            y,
            validation_split=0.25,
            batch_size=16,
            epochs=4,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        )
        trials = tuner.oracle.trials.values()
        return {"score": [np.nan if t.score is None else t.score for t in trials]}


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
