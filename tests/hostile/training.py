"""A training of a million steps, really trained, with and without NanWatch.

`python -m tests.hostile.training [STEPS] [--write]` trains a tiny model twice, each in a
process of its own: plainly, and with everything on that NanWatch has. Both say what
memory they hold after each twentieth of the steps. Each step has an input of its own, so
that the log can be asked whether each is in it, once. With `--write` docs/robustness.md says what
it took.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made import put
from tb_nanwatch.record.schema import RANGE_COLUMNS
from tests.hostile.soak import resident_bytes
from tests.writing.logs import Log, read_log

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "robustness.md"
START, END = "<!-- training: made by tests/hostile/training.py -->", "<!-- /training -->"
PLACES = 20
# Steps of each epoch, unless there are fewer than `PLACES` epochs of them.
EPOCH, EXECUTION = 5_000, 50
# The first non-finite step is so many before the last.
BAD_STEPS = 70
# Until here buffers fill up, of the plain training too: its allocator keeps what is freed.
SETTLED = PLACES // 10
# What may be added afterwards, beyond what the plain training adds: buckets in number
# like the logarithm of the steps, and the noise of an allocator: 1 to 3 MB were seen. A
# leak of seven bytes a step is more.
MAX_GROWTH = 6 << 20


def value(step: Any) -> Any:
    """Returns each element of a step's input: 1 to 2, in steps that float32 holds."""
    return 1 + step * 40_503 % 1_024 / 1_024


@dataclass
class Trained:
    """What a training said.

    Attributes:
        memory: resident bytes after each twentieth of the steps.
        log_bytes: what the log took then.
        weights: a hash of the weights then.
        iterations: steps that the optimizer counted.
        seconds: of the whole training.
    """

    memory: list[int]
    log_bytes: list[int]
    weights: list[str]
    iterations: int
    seconds: float

    @property
    def growth(self) -> int:
        """The most that was held later on, over what was held when all had settled."""
        settled = self.memory[SETTLED - 1]
        return max(self.memory[SETTLED:]) - settled


def train(steps: int, logs: str | None) -> None:
    """Trains here, and prints what `Trained` holds."""
    import keras
    import tensorflow as tf

    from tb_nanwatch import NanWatch

    epoch = min(EPOCH, steps // PLACES)
    memory, sizes, hashes = [], [], []

    class Scale(keras.callbacks.Callback):
        def on_epoch_end(self, n: int, logs_: Any = None) -> None:
            if (n + 1) * epoch % (steps // PLACES) == 0:
                memory.append(resident_bytes())
                files = Path(logs).rglob("*") if logs else ()
                sizes.append(sum(p.stat().st_size for p in files if p.is_file()))
                weights = b"".join(w.tobytes() for w in self.model.get_weights())
                hashes.append(hashlib.sha256(weights).hexdigest())

    def batches(step: Any) -> tuple[Any, Any]:
        x = tf.cast(value(step), tf.float32)[:, None, None] * tf.ones((2, 4))
        bad = tf.where(step < steps - BAD_STEPS, 0.0, np.nan)
        return x, x[..., :1] + bad[:, None, None]

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"], steps_per_execution=EXECUTION)
    x = np.ones((8, 4), "float32")
    callbacks: list[Any] = [Scale()]
    if logs is not None:
        callbacks.insert(0, NanWatch(logs))
    began = time.monotonic()
    model.fit(
        tf.data.Dataset.range(steps).batch(1_000).map(batches).unbatch(),
        epochs=steps // epoch,
        steps_per_epoch=epoch,
        validation_data=(x, x[:, :1]),
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    seconds = time.monotonic() - began
    iterations = int(model.optimizer.iterations.numpy())
    print(json.dumps([memory, sizes, hashes, iterations, seconds]))


def trained(steps: int, logs: Path | None) -> Trained:
    """Trains in a process of its own."""
    program = [sys.executable, "-m", "tests.hostile.training", "--train", str(steps)]
    done = subprocess.run(
        [*program, *([] if logs is None else [str(logs)])],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Trained(*json.loads(done.stdout.splitlines()[-1]))


def uncounted(log: Log, steps: int) -> Iterator[str]:
    """Yields what the log does not account for; nothing where each step is in it once."""
    records = [r for r in log.all("ranges") if r.phase == "train"]
    bounds = np.concatenate([r.steps for r in records])
    stats = np.concatenate([r.stats for r in records])
    (probe,) = [p for p, q in enumerate(log.session.train_probes) if q.kind == "input"]
    if bounds[0, 0] != 0 or bounds[-1, 1] != steps - 1:
        yield f"steps {bounds[0, 0]} to {bounds[-1, 1]} of {steps}"
    if (bounds[1:, 0] != bounds[:-1, 1] + 1).any():
        yield "buckets that overlap, or steps between them"
    # The mean square of a bucket is over each of its steps: one that is missing, or
    # there twice, shows.
    for (first, last), stat in zip(bounds, stats[:, probe], strict=True):
        seen = value(np.arange(first, last + 1, dtype=np.int64))
        expected = (seen.min(), seen.max(), np.sqrt(np.square(seen).mean()))
        columns = [RANGE_COLUMNS.index(c) for c in ("rms_min", "rms_max", "rms")]
        if not np.allclose(stat[columns], expected, rtol=3e-7, atol=0):
            yield f"steps {first} to {last}: {stat[columns]}, not {expected}"
    onset = log.status.onset
    if log.status.steps != steps or onset is None or onset.step != steps - BAD_STEPS:
        yield f"{log.status.steps} steps, first bad {onset}"


def write_readme(steps: int, plain: Trained, watched: Trained) -> None:
    """Writes into docs/robustness.md what so many steps took."""
    said = (
        f"{steps:,} steps of a tiny model were really trained, with everything on: each "
        "is in the log, once, and the weights are\nthose of plain `fit`. From step "
        f"{steps * SETTLED // PLACES:,} on memory grew by {watched.growth / 2**20:.1f} MB "
        f"(plain `fit`: {plain.growth / 2**20:.1f} MB); the log took "
        f"{watched.log_bytes[PLACES // 2 - 1] / 1e6:.2f} MB\nafter half of the steps and "
        f"{watched.log_bytes[-1] / 1e6:.2f} MB after all."
    )
    put(PAGE, START, END, said)


def main(steps: int, write: bool) -> None:
    """Trains both, and prints what they took."""
    with tempfile.TemporaryDirectory() as folder:
        watched = trained(steps, Path(folder))
        missing = list(uncounted(read_log(Path(folder)), steps))
    plain = trained(steps, None)
    for name, one in (("plain", plain), ("watched", watched)):
        print(
            f"{name}: {one.iterations:,} steps in {one.seconds:.0f} s, memory in MB "
            f"{[round(m / 2**20, 1) for m in one.memory]}, growth "
            f"{one.growth / 2**20:.1f}, log in kB {[s // 1000 for s in one.log_bytes]}"
        )
    print("\n".join(missing) or "every step is in the log, once")
    print("weights are", "the same" if watched.weights == plain.weights else "others")
    if write:
        write_readme(steps, plain, watched)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
    else:
        numbers = [int(a) for a in sys.argv[1:] if a != "--write"]
        main(numbers[0] if numbers else 1_000_000, "--write" in sys.argv)
