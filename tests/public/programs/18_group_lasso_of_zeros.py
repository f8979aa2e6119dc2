"""A group lasso, the norm of each row of a kernel, on a layer whose kernel starts at zero.

Source: TensorFlow, issue 12071 (and jina-ai/finetuner, pull request 34): the gradient of
tf.norm is NaN at zero and infinite near it; a network with an L2 norm of one's own breaks
down without any warning. Answer: the root of the squared sum plus a small number.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": ["tf.norm", "tf.math.sqrt"],
    "line_text": "tf.norm(",
    "causes": ["loss_domain", "layer_domain"],
    "never": ["nonfinite_data", "learning_rate", "unscaled_inputs", "unscaled_targets"],
    "fix": "the root of the squared sum plus a small number",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(18)
    rng = np.random.default_rng(18)
    x = rng.normal(size=(640, 12)).astype("float32")
    y = x[:, :2] @ np.array([[1.0], [-2.0]], "float32")

    def group_lasso(kernel):
        if fixed:
            squared = tf.reduce_sum(tf.square(kernel), axis=1)
            return 0.01 * tf.reduce_sum(tf.sqrt(squared + 1e-12))
        return 0.01 * tf.reduce_sum(tf.norm(kernel, axis=1))

    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(
                1, kernel_initializer="zeros", kernel_regularizer=group_lasso
            ),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model.fit(
        x,
        y,
        batch_size=32,
        epochs=3,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
