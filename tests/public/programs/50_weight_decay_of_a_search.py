"""A KerasTuner search over AdamW's weight decay, its upper bound far too high.

Source: tensorflow/addons, issue 2737: training with AdamW or SGDW is NaN in spite of a
clipvalue, where weight_decay is large. Reason: a decoupled decay is not part of the gradient,
is not clipped, and takes more than the whole weight off in a step. Answer: a small decay. The
search is ours; the report has single trainings.
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
    "causes": ["optimizer_settings"],
    "never": ["nonfinite_data", "loss_domain", "layer_domain", "unscaled_inputs"],
    "fix": "a weight decay of ordinary size",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(50)
    rng = np.random.default_rng(50)
    x = rng.normal(size=(512, 10)).astype("float32")
    y = (x[:, 0] - 0.5 * x[:, 1] + 0.3 * x[:, 2] * x[:, 3]).astype("float32")

    def build(hp):
        model = keras.Sequential([keras.Input((10,))])
        for _ in range(hp.Int("layers", 1, 3)):
            model.add(keras.layers.Dense(hp.Int("units", 16, 64, 16), "relu"))
        model.add(keras.layers.Dense(1))
        decay = hp.Float("weight_decay", 1e-4, 0.1 if fixed else 1e4, sampling="log")
        model.compile(keras.optimizers.AdamW(0.01, decay, clipvalue=0.5), "mse")
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner = keras_tuner.RandomSearch(
            build,
            objective="val_loss",
            max_trials=4,
            max_consecutive_failed_trials=10,
            seed=50,
            directory=directory,
            project_name="decay",
        )
        tuner.search(
            x,
            y,
            validation_split=0.2,
            epochs=6,
            verbose=0,
            callbacks=[NanWatch(logs)] if logs else [],
        )
        trials = tuner.oracle.trials.values()
        return {"score": [np.nan if t.score is None else t.score for t in trials]}


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
