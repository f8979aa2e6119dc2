"""A stability search, and a real search in the space that it found to live.

python -m tests.browser.stability DIRECTORY
"""

import pathlib
import sys
from typing import Any

import keras_tuner

from tb_nanwatch import NanWatch, StabilitySearch
from tests.tuner.searches import X, Y, linear


def build(hp: Any) -> Any:
    return linear(hp.Float("rate", 1e-4, 1e3, sampling="log"))


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    frontier = StabilitySearch(
        build,
        max_trials=6,
        steps=16,
        seed=1,
        log_dir=root / "log",
        directory=root,
        project_name="frontier",
    )
    frontier.search(X, Y, batch_size=4, verbose=0)
    tuner = keras_tuner.RandomSearch(
        build,
        objective="loss",
        max_trials=1,
        hyperparameters=frontier.stable_space(),
        seed=2,
        directory=root,
        project_name="real",
    )
    tuner.search(
        X, Y, epochs=1, batch_size=16, verbose=0, callbacks=[NanWatch(root / "log")]
    )
