"""A KerasTuner search over depth and width, weights begun with one spread for all widths.

Source: TensorFlow, issue 2242: with ten hidden layers of 2400 units weights and biases become
NaN, with fewer and smaller layers everything works. Reason, as the maintainer says: such a
network explodes at a high learning rate. Answer: a lower one. Layers are smaller here, the
search is ours, and the initializer, which the report does not show, is that of TensorFlow's
tutorials of those days; one that goes by the width helps as well.
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
    "causes": ["learning_rate", "initialization", "gradient_amplification"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "unscaled_inputs"],
    "fix": "a lower learning rate; an initializer that goes by the width",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(52)
    rng = np.random.default_rng(52)
    x = rng.normal(size=(512, 16)).astype("float32")
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0.0).astype("int32") + (x[:, 3] > 1.0)

    def build(hp):
        model = keras.Sequential([keras.Input((16,))])
        begin = keras.initializers.TruncatedNormal(stddev=0.1)
        for _ in range(hp.Int("layers", 1, 10)):
            units = hp.Int("units", 32, 512, 96)
            model.add(keras.layers.Dense(units, "relu", kernel_initializer=begin))
        model.add(keras.layers.Dense(3, "softmax", kernel_initializer=begin))
        rate = 1e-4 if fixed else 0.1
        model.compile(
            keras.optimizers.SGD(rate, momentum=0.9),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner = keras_tuner.RandomSearch(
            build,
            objective="val_accuracy",
            max_trials=4,
            max_consecutive_failed_trials=10,
            seed=52,
            directory=directory,
            project_name="depth",
        )
        tuner.search(
            x,
            y,
            validation_split=0.2,
            epochs=3,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        )
        trials = tuner.oracle.trials.values()
        return {"score": [np.nan if t.score is None else t.score for t in trials]}


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
