"""An Optuna study whose trials are pruned once they go bad, with NaN Watch's message.

pip install optuna      # `make demo` leaves it out
python demo/with_optuna.py
"""

from __future__ import annotations

import keras
import numpy as np
import optuna

from tb_nanwatch import NanWatch, NonFiniteError

x = np.random.default_rng(0).normal(size=(256, 10)).astype("float32")
y = x.sum(axis=1, keepdims=True)


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("learning_rate", 1e-4, 10.0, log=True)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    watch = NanWatch(
        f"logs/optuna/{trial.number}", hparams=trial.params, on_nonfinite="raise"
    )
    try:
        history = model.fit(x, y, epochs=5, verbose=0, callbacks=[watch])
    except NonFiniteError as e:
        raise optuna.TrialPruned(str(e)) from e
    return history.history["loss"][-1]


if __name__ == "__main__":
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=8)
