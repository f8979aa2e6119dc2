"""Tokens of which only the answer's count, the mean over those, and a batch without an answer.

Source: NVIDIA-NeMo/Automodel, issue 3796: a batch in which every token is masked gives a NaN
loss in three of four losses, and a spoilt model. Reason: the sum is divided by the number of
tokens that count, which is 0. Answer: no loss (0) for such a batch; one at least below.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 9,
    "operation": ["tf.math.divide"],
    "line_text": "/ counted",
    "causes": ["loss_domain"],
    "never": ["nonfinite_data", "learning_rate", "layer_domain", "label_range"],
    "fix": "divide by max(count, 1)",
}
IGNORED = -100


def main(logs, fixed=False):
    keras.utils.set_random_seed(26)
    rng = np.random.default_rng(26)
    prompt = rng.integers(2, 10, 160)
    prompt[36:40] = 14  # cut off at twelve tokens: of these only the prompt is left
    token = rng.integers(0, 20, (160, 12))
    target = (token + np.roll(token, 1, axis=1)) % 5
    target[np.arange(12) < prompt[:, None]] = IGNORED

    def answer_loss(y_true, y_pred):
        counts = ops.cast(ops.not_equal(y_true, IGNORED), "float32")
        label = ops.cast(ops.maximum(y_true, 0), "int32")
        each = ops.sparse_categorical_crossentropy(label, y_pred, from_logits=True)
        counted = ops.sum(counts)
        if fixed:
            counted = ops.maximum(counted, 1.0)
        return ops.sum(each * counts) / counted

    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(20, 16),
            layers.Conv1D(32, 2, padding="causal", activation="relu"),
            layers.Dense(5),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), answer_loss)
    return model.fit(
        token,
        target,
        batch_size=4,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
