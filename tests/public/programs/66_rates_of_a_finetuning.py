"""A KerasTuner search for the rate with which all layers of a net are trained again.

Source: kratzert/finetune_alexnet_with_tensorflow, issue 39: with more than the last layer trained
the cross-entropy is NaN, at rates of 0.2 and of 0.05. Reason, as the author says: these are far
too high. Answer: a lower one. Images are bytes less their mean, as there; the search is ours.
"""

import sys
import tempfile

import keras
import keras_tuner
import numpy as np
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["learning_rate", "unscaled_inputs"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "outlier_data"],
    "fix": "a lower rate; scaled images",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(66)
    rng = np.random.default_rng(66)
    kind = rng.integers(0, 3, 256)
    image = rng.integers(0, 256, (256, 12, 12, 3)).astype("float32") - 127.0
    image[..., 0] += 20.0 * kind[:, None, None]

    def build(hp):
        model = keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.Conv2D(16, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(32, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(64, activation="relu"),
                layers.Dense(64, activation="relu"),
                layers.Dense(3),
            ]
        )
        rates = [1e-6, 2e-6, 5e-6] if fixed else [0.2, 0.05, 1e-5]
        model.compile(
            keras.optimizers.SGD(hp.Choice("rate", rates)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner = keras_tuner.GridSearch(
            build,
            objective="val_loss",
            max_trials=3,
            max_consecutive_failed_trials=10,
            directory=directory,
            project_name="finetuning",
        )
        tuner.search(
            image,
            kind,
            validation_split=0.2,
            batch_size=32,
            epochs=3,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        )
        trials = tuner.oracle.trials.values()
        return {"score": [np.nan if t.score is None else t.score for t in trials]}


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
