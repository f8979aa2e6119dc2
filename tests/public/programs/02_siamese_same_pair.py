"""A siamese network: the Euclidean distance of two embeddings, and how alike they are.

Source: Keras, issue 9097 (https://github.com/keras-team/keras/issues/9097), also 2001 and
4541: the loss is NaN as soon as the two inputs of a pair are the same. Reason: the square
root in the distance layer has no derivative at zero. Answer, and what Keras' own example has
since: a lower bound (or a small number) inside the root.
"""

import sys

import keras
import numpy as np
from keras import ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 4,
    "operation": ["tf.math.sqrt"],
    "line_text": "return ops.sqrt(",
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "initialization"],
    "fix": "a lower bound inside the distance's square root",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)
    left = rng.normal(size=(640, 12)).astype("float32")
    same = rng.random(640) < 0.5
    right = np.where(
        same[:, None],
        left + 0.3 * rng.normal(size=(640, 12)),
        rng.normal(size=(640, 12)),
    ).astype("float32")
    same[140], right[140] = True, left[140]  # the same picture twice

    def euclidean_distance(pair):
        squared = ops.sum(ops.square(pair[0] - pair[1]), axis=1, keepdims=True)
        if fixed:
            squared = ops.maximum(squared, 1e-7)
        return ops.sqrt(squared)

    encoder = keras.Sequential(
        [
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(8),
        ]
    )
    one, other = keras.Input((12,)), keras.Input((12,))
    distance = keras.layers.Lambda(euclidean_distance, name="distance")(
        [encoder(one), encoder(other)]
    )
    alike = keras.layers.Dense(1, activation="sigmoid")(distance)
    model = keras.Model([one, other], alike)
    model.compile("adam", "binary_crossentropy")
    return model.fit(
        [left, right],
        same[:, None].astype("float32"),
        batch_size=32,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
