"""The training that works: the question's model with values picked by hand."""

import keras
import numpy as np
import places

from tb_nanwatch import NanWatch

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.random((1000, 10), dtype=np.float32)
y = rng.random(1000, dtype=np.float32)

if __name__ == "__main__":
    units, learning_rate = 64, 1e-3
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), loss="mse")
    history = model.fit(
        x,
        y,
        validation_split=0.2,
        epochs=5,
        verbose=0,
        callbacks=[
            NanWatch(
                places.log_dir("plain_training"),
                hparams={"units": units, "learning_rate": learning_rate},
            )
        ],
    )
    print(f"  val_loss {history.history['val_loss'][-1]:.4g}")
