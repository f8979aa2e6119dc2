"""A table of cars with question marks for what is not known, standardized column by column.

Source: Keras, issue 14490, and any number of questions about a loss that is NaN from the
first epoch to the last with one's own CSV file; TensorFlow's tutorial on basic regression
drops such rows of the Auto MPG data. Reason: one missing value makes the mean of its column
NaN, and with it the whole column. Answer: leave out or fill in what is missing.
"""

import io
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
    "causes": ["nonfinite_data"],
    "never": ["learning_rate", "loss_domain", "unscaled_inputs", "unscaled_targets"],
    "fix": "rows with missing values left out, or the values filled in",
}


def table():
    rng = np.random.default_rng(11)
    lines = ["cylinders,horsepower,weight,year,mpg"]
    for i in range(400):
        cylinders = rng.choice([4, 6, 8])
        horsepower = int(20 * cylinders + rng.normal(0, 8))
        weight = int(450 * cylinders + rng.normal(0, 150))
        mpg = 45.0 - 0.006 * weight - 0.03 * horsepower + rng.normal(0, 1)
        known = "?" if i in (32, 126, 330) else horsepower
        lines.append(f"{cylinders},{known},{weight},{70 + i % 13},{mpg:.1f}")
    return io.StringIO("\n".join(lines))


def main(logs, fixed=False):
    keras.utils.set_random_seed(11)
    data = np.genfromtxt(table(), delimiter=",", skip_header=1)
    if fixed:
        data = data[~np.isnan(data).any(axis=1)]
    data = ((data - data.mean(axis=0)) / data.std(axis=0)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.RMSprop(0.001), "mse", metrics=["mae"])
    return model.fit(
        data[:, :4],
        data[:, 4],
        epochs=5,
        validation_split=0.2,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
