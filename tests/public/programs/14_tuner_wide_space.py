"""A KerasTuner search of a very large space, learning rates of SGD up to 3 among it.

Source: keras-team/keras-tuner, issues 477 and 509: some trials' loss explodes and is NaN, and
a Bayesian search cannot go on from such a score. Reason, as the reporters say: the space holds
values with which no training survives. Answer: a callback that ends such a trial; what would
prevent it is a lower upper bound of the learning rate.
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
    "causes": ["learning_rate"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "unscaled_inputs"],
    "fix": "a lower upper bound of the learning rate",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(14)
    rng = np.random.default_rng(14)
    x = rng.normal(size=(512, 10)).astype("float32")
    y = (x[:, 0] + 0.5 * x[:, 1] + 0.3 * x[:, 2] * x[:, 3]).astype("float32")

    def build(hp):
        model = keras.Sequential([keras.Input((10,))])
        for _ in range(hp.Int("layers", 1, 4)):
            activation = hp.Choice("activation", ["relu", "elu", "selu"])
            model.add(keras.layers.Dense(hp.Int("units", 16, 128, 16), activation))
        model.add(keras.layers.Dense(1))
        rate = hp.Float("learning_rate", 1e-4, 0.01 if fixed else 3.0, sampling="log")
        model.compile(keras.optimizers.SGD(rate, momentum=0.9), "mse")
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner = keras_tuner.RandomSearch(
            build,
            objective="val_loss",
            max_trials=6,
            max_consecutive_failed_trials=10,
            seed=14,
            directory=directory,
            project_name="wide",
        )
        tuner.search(
            x,
            y,
            validation_split=0.2,
            epochs=4,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        )
        trials = tuner.oracle.trials.values()
        return {"score": [np.nan if t.score is None else t.score for t in trials]}


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
