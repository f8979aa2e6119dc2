"""Twenty layers whose weights are drawn from a normal distribution of deviation 1.

Source: the benchmarks of AutoTrainer and DeepFD (exploding gradients by an unfit initializer),
and what courses on deep networks tell of the initialization that was once usual: a loss that
is infinite or NaN from the start. Reason: a layer of 256 units multiplies what enters it by
about 11, so that twenty of them give more than float32 holds once it is squared. Answer: He's
or Glorot's initializer.
"""

import sys

import keras
import numpy as np

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 0,
    "operation": None,
    "line_text": None,
    "causes": ["initialization"],
    "never": ["nonfinite_data", "loss_domain", "unscaled_inputs", "unscaled_targets"],
    "fix": "he_normal or glorot_uniform as initializer",
}


def main(logs, fixed=False):
    keras.utils.set_random_seed(19)
    rng = np.random.default_rng(19)
    x = rng.normal(size=(640, 10)).astype("float32")
    y = np.sin(x[:, :1]) + 0.5 * x[:, 1:2]
    initializer = "he_normal" if fixed else keras.initializers.RandomNormal(stddev=1.0)
    model = keras.Sequential([keras.Input((10,))])
    for _ in range(20):
        model.add(keras.layers.Dense(256, "relu", kernel_initializer=initializer))
    model.add(keras.layers.Dense(1))
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    return model.fit(
        x,
        y,
        batch_size=64,
        epochs=4,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
