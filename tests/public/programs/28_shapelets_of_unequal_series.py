"""Learnt shapelets, and series of unequal length in one array, the rest of it NaN.

Source: tslearn-team/tslearn, issue 352: with series of unequal length the loss is ordinary in
the first epoch, and NaN from the second on. Reason: to_time_series_dataset fills up with NaN;
distances to what is not there are left out of the minimum, so that the loss is finite, and
the gradient takes them along. Answer: no NaN in the array that is trained on.
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": None,
    "line_text": None,
    "causes": ["nonfinite_data", "layer_domain"],
    "never": ["learning_rate", "unscaled_inputs", "loss_domain", "label_range"],
    "fix": "fill up with a number, and mask",
}


class Shapelets(layers.Layer):
    def build(self, shape):
        self.shapelet = self.add_weight(
            shape=(4, 6), initializer=keras.initializers.RandomNormal(stddev=0.5)
        )

    def call(self, series):
        window = tf.signal.frame(series, 4, 1)[..., None]
        distance = tf.reduce_mean(tf.square(window - self.shapelet), axis=2)
        absent = tf.reduce_any(tf.math.is_nan(window), axis=2)
        distance = tf.where(absent, 1e6, distance)
        return tf.reduce_min(distance, axis=1)


def main(logs, fixed=False):
    keras.utils.set_random_seed(28)
    rng = np.random.default_rng(28)
    length = rng.integers(8, 21, 320)
    series = 0.3 * rng.normal(size=(320, 20)).astype("float32")
    label = (rng.random((320, 1)) < 0.5).astype("float32")
    for one, bump in zip(series, label[:, 0], strict=True):
        at = rng.integers(0, 5)
        one[at : at + 4] += bump * np.array([1.0, 2.0, 2.0, 1.0], "float32")
    series[np.arange(20) >= length[:, None]] = 0.0 if fixed else np.nan
    model = keras.Sequential(
        [keras.Input((20,)), Shapelets(), layers.Dense(1, activation="sigmoid")]
    )
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    return model.fit(
        series,
        label,
        batch_size=320,
        epochs=20,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
