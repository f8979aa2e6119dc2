"""A Ray Tune search: several worker processes log below one directory.

make demo-ray           # Ray in an environment of its own
python demo/with_ray.py # where Ray is installed: pip install "ray[tune]"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune

HERE = Path.cwd()  # Ray's workers have working directories of their own
LOGS = HERE / "logs" / "ray"


def train(config: dict[str, Any]) -> None:
    # Each worker is a process of its own, which imports what it needs.
    import keras
    import numpy as np

    from tb_nanwatch import NanWatch

    x = np.random.default_rng(0).normal(size=(256, 10)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(config["optimizer"], "mse")
    model.optimizer.learning_rate = config["learning_rate"]
    name = tune.get_context().get_trial_name()
    watch = NanWatch(LOGS / name, hparams=config)
    history = model.fit(x, y, epochs=5, verbose=0, callbacks=[watch])
    tune.report({"loss": history.history["loss"][-1]})


if __name__ == "__main__":
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={
            "learning_rate": tune.grid_search([0.01, 0.1, 3.0, 10.0]),
            "optimizer": tune.grid_search(["sgd", "adam"]),
        },
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=2),
        run_config=tune.RunConfig(storage_path=str(HERE / "tuners" / "ray")),
    )
    tuner.fit()
    print(f"Done. Now: tb-nanwatch report {LOGS}")
