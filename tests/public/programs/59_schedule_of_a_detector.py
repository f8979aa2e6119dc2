"""A small box regression whose rate a LearningRateScheduler sets, far above that of compile.

Source: pierluigiferrari/ssd_keras, issue 202: the loss is NaN in the first epoch, after the
callback has set the rate. Reason, as found there: the schedule's first rate is too high. Answer:
begin with a hundredth of it. Here compile has that, and the schedule another.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": None,
    "operation": None,
    "line_text": None,
    "causes": ["learning_rate"],
    "never": [
        "nonfinite_data",
        "loss_domain",
        "layer_domain",
        "label_range",
        "inherited",
    ],
    "fix": "a lower rate in the schedule",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(59)
    rng = np.random.default_rng(59)
    x = rng.uniform(size=(480, 16, 16, 3)).astype("float32")
    y = np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64, activation="relu"),
            layers.Dense(6),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), box_loss)
    first = 1e-3 if fixed else 0.5

    def schedule(epoch):
        return first if epoch < 3 else first / 10.0

    callbacks = [keras.callbacks.LearningRateScheduler(schedule)]
    return model.fit(
        x,
        y.astype("float32"),
        batch_size=16,
        epochs=4,
        verbose=0,
        callbacks=[*callbacks, NanWatch(logs)] if logs else callbacks,
    ).history


def box_loss(y_true, y_pred):
    return ops.sum(10.0 * ops.square(y_true - y_pred), axis=-1)


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
