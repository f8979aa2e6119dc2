"""The same search on data times 1,000, once with Adam and once with SGD."""

from collections.abc import Callable

import keras
import keras_tuner
import numpy as np
import places

from tb_nanwatch import NanWatch

keras.utils.set_random_seed(2)
rng = np.random.default_rng(2)
x = 1000 * rng.random((1000, 10), dtype=np.float32)
y = 1000 * rng.random(1000, dtype=np.float32)


def build_with(
    optimizer: type[keras.optimizers.Optimizer],
) -> Callable[[keras_tuner.HyperParameters], keras.Model]:
    def build(hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((10,)),
                keras.layers.Dense(hp.Int("units", 32, 512, step=32), activation="relu"),
                keras.layers.Dense(1),
            ]
        )
        rate = hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4])
        model.compile(optimizer(rate), loss="mse")
        return model

    return build


def search(name: str, optimizer: type[keras.optimizers.Optimizer]) -> None:
    print(f"{name}:")
    tuner = keras_tuner.RandomSearch(
        build_with(optimizer),
        objective="val_loss",
        max_trials=5,
        seed=2,
        directory=places.tuner_dir(),
        project_name=name,
    )
    try:
        tuner.search(
            x,
            y,
            validation_split=0.2,
            epochs=5,
            verbose=0,
            callbacks=[NanWatch(places.log_dir(name))],
        )
    except RuntimeError as error:
        places.say(tuner)
        places.aborted(error)
    else:
        places.say(tuner)


if __name__ == "__main__":
    search("unscaled_adam", keras.optimizers.Adam)
    search("unscaled_sgd", keras.optimizers.SGD)
