"""A training to be killed: `python -m tests.hostile.victim`, a job a line on stdin.

Keras is imported once; each job is a fork of this process, which answers with its pid.
A job is a JSON object: `logs`, `ticks` (a file for "STEPS SECONDS" lines), `pause`
(seconds a call), `steps_per_execution`, `epochs`, and `backup` (a directory, or null).
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import keras
import numpy as np

from tb_nanwatch import NanWatch

BATCHES, BATCH = 200, 4
# Training steps: the first is harmless, the second reaches the weights.
CONTAINED, ONSET = 20, 60


class Guard(keras.Layer):
    """Lets no NaN through, so that it stays contained."""

    def call(self, x: Any) -> Any:
        return keras.ops.where(keras.ops.isnan(x), 0.0, x)


class Ticks(keras.callbacks.Callback):
    """Says how many steps are done and when, and takes its time."""

    def __init__(self, path: str, pause: float) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._pause, self._done = pause, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        calls = int(self.model.steps_per_execution)
        self._done += calls
        os.write(self._file, f"{self._done} {time.monotonic()}\n".encode())
        time.sleep(self._pause)


def train(job: dict[str, Any]) -> None:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), Guard(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=job["steps_per_execution"])
    x = np.ones((BATCHES * BATCH, 3), "float32")
    y = x[:, :1].copy()
    x[CONTAINED * BATCH, 0] = np.nan
    if job["backup"] is None:
        y[ONSET * BATCH] = np.nan
    callbacks = [NanWatch(job["logs"]), Ticks(job["ticks"], job["pause"])]
    if job["backup"] is not None:
        backup = keras.callbacks.BackupAndRestore(job["backup"], save_freq="epoch")
        callbacks.append(backup)
    model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=job["epochs"],
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                sys.stdout = sys.stderr  # what a training says is no answer
                train(json.loads(line))
            finally:
                os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
