"""A KerasTuner search for the learning rate of a straight line through numbers up to 200.

Source: Keras, issue 3040: the weights of a linear regression of 2 x on x = 0 to 199 are NaN
after some steps of SGD. Reason, as the reporter found: the learning rate was too high, for
numbers of that size. Answer: a lower one. The search is ours; the report has one training.
"""

import sys
import tempfile

import keras
import keras_tuner
import numpy as np

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["learning_rate", "unscaled_inputs", "unscaled_data"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "outlier_data"],
    "fix": "a lower learning rate; x and y scaled",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(46)
    x = np.arange(200.0).astype("float32")[:, None]
    y = 2.0 * x

    def build(hp):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        rate = hp.Float("learning_rate", 1e-7, 1e-5 if fixed else 1e-2, sampling="log")
        model.compile(keras.optimizers.SGD(rate), "mean_squared_error")
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner = keras_tuner.RandomSearch(
            build,
            objective="loss",
            max_trials=6,
            max_consecutive_failed_trials=10,
            seed=46,
            directory=directory,
            project_name="line",
        )
        tuner.search(
            x,
            y,
            batch_size=1,
            epochs=1,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        )
        trials = tuner.oracle.trials.values()
        return {"score": [np.nan if t.score is None else t.score for t in trials]}


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
