"""Seven classes, numbered from 1 to 7, with a sparse categorical cross-entropy.

Source: Keras, issue 11786; TensorFlow, issues 8484, 10268 and 56979: the loss is NaN (on a
GPU, or wherever XLA compiles the step; the plain CPU kernel raises an error instead). Reason:
the classes of an output of seven units are 0 to 6, and 7 is none of them. Answer: count from
0.
"""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.nn.sparse_softmax_cross_entropy_with_logits"],
    "line_text": None,
    "causes": ["label_range"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "layer_domain"],
    "fix": "labels from 0 to 6",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(16)
    rng = np.random.default_rng(16)
    kind = rng.integers(1, 8, 640)
    x = (rng.normal(0, 2, (8, 9))[kind] + rng.normal(size=(640, 9))).astype("float32")
    if fixed:
        kind = kind - 1
    model = keras.Sequential(
        [
            keras.Input((9,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", jit_compile=True
    )
    return model.fit(
        x,
        kind,
        batch_size=32,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
