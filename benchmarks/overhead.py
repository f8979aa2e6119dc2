"""What watching costs: time a step, time to the first step, memory and log bytes.

Every row is a ratio to plain `fit`. Within one process the watched and the plain
model train in turn, a stretch of steps each, so that a drifting machine slows both;
the median of the ratios is quoted, and plain against a second plain model says how
far the measurement itself can be trusted.

    python benchmarks/overhead.py [--models mlp,conv,transformer] [--rounds 15]
        [--rows ...] [--jit]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROWS = (
    "plain",
    "nanwatch",
    "nanwatch activations only",
    "TerminateOnNaN",
    "check_numerics",
    "dump CONCISE_HEALTH",
    "dump FULL_HEALTH",
    "TensorBoard(histogram_freq=1)",
    "second forward pass",
)
# Rows that change the whole process are measured in a process of their own, against
# plain in another one.
GLOBAL_ROWS = ("check_numerics", "dump CONCISE_HEALTH", "dump FULL_HEALTH")


def callbacks_of(row: str, log_dir: str) -> list[Any]:
    """Returns the callbacks that make the row's difference."""
    import keras

    from tb_nanwatch import NanWatch

    if row == "nanwatch":
        return [NanWatch(log_dir)]
    if row == "nanwatch activations only":
        return [NanWatch(log_dir, activations_only=True)]
    if row == "TerminateOnNaN":
        return [keras.callbacks.TerminateOnNaN()]
    if row == "TensorBoard(histogram_freq=1)":
        return [keras.callbacks.TensorBoard(log_dir, histogram_freq=1)]
    if row == "second forward pass":
        return [_second_forward_pass()]
    return []


def _second_forward_pass() -> Any:
    import keras
    import tensorflow as tf

    class SecondForwardPass(keras.callbacks.Callback):
        """Reads every layer's output of a batch by running the model again."""

        def on_train_begin(self, logs: Any = None) -> None:
            outputs = [layer.output for layer in self.model.layers]
            self.reader = keras.Model(self.model.inputs, outputs)
            self.read = tf.function(
                lambda x: [
                    tf.reduce_all(tf.math.is_finite(o))
                    for o in self.reader(x)
                    if o.dtype.is_floating
                ]
            )

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.read(BATCH[0])

    return SecondForwardPass()


BATCH: list[Any] = []


class Stepper:
    """A model inside `fit`, in a thread that takes a stretch of steps when told."""

    def __init__(
        self, row: str, model: Any, data: Any, stretch: int, log_dir: str
    ) -> None:
        import keras

        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._stretch, self.over = stretch, False
        outer = self

        class Pace(keras.callbacks.Callback):
            """An epoch is a stretch; between epochs the other rows have their turn."""

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                outer._go.acquire()
                if outer.over:
                    self.model.stop_training = True
                outer.began = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                outer.seconds = time.perf_counter() - outer.began
                outer._done.release()

        callbacks = [*callbacks_of(row, log_dir), Pace()]

        def run() -> None:
            model.fit(
                data,
                epochs=10**6,
                steps_per_epoch=stretch,
                verbose=0,
                callbacks=callbacks,
            )

        self._thread = threading.Thread(target=run, daemon=True)
        self.created = time.perf_counter()
        self._thread.start()

    def step(self) -> float:
        """Takes one stretch and returns its seconds."""
        self._go.release()
        self._done.acquire()
        return self.seconds

    def close(self) -> None:
        """Ends the fit."""
        self.over = True
        self._go.release()
        self._done.acquire()
        self._thread.join()


def interleaved(
    model_name: str, rows: list[str], rounds: int, jit: bool
) -> dict[str, Any]:
    """Returns seconds a stretch of each row, [rounds] each, and bytes logged."""
    import keras

    from benchmarks.models import MODELS, STRETCH

    seconds: dict[str, list[float]] = {row: [] for row in rows}
    first: dict[str, float] = {}
    logged: dict[str, int] = {}
    root = Path(tempfile.mkdtemp(prefix="overhead-"))
    steppers = {}
    try:
        for i, row in enumerate(rows):
            keras.utils.set_random_seed(0)
            model, data = MODELS[model_name](jit if jit else "auto")
            BATCH[:] = [next(iter(data))[0]]
            steppers[row] = Stepper(
                row, model, data, STRETCH[model_name], str(root / str(i))
            )
            first[row] = steppers[row].step()
        for _ in range(2):
            for stepper in steppers.values():
                stepper.step()
        for r in range(rounds):
            # Each row stands in each place of the round in turn.
            order = rows[r % len(rows) :] + rows[: r % len(rows)]
            for row in order:
                seconds[row].append(steppers[row].step())
        for stepper in steppers.values():
            stepper.close()
        for i, row in enumerate(rows):
            files = (root / str(i)).rglob("*")
            logged[row] = sum(f.stat().st_size for f in files if f.is_file())
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return {"seconds": seconds, "first": first, "logged": logged}


@contextlib.contextmanager
def global_row(row: str, log_dir: str) -> Iterator[None]:
    """Switches on what changes the whole process."""
    import tensorflow as tf

    if row == "check_numerics":
        tf.debugging.enable_check_numerics()
    elif row.startswith("dump "):
        tf.debugging.experimental.enable_dump_debug_info(
            log_dir, tensor_debug_mode=row.split()[1], circular_buffer_size=1000
        )
    yield


def alone(model_name: str, row: str, stretches: int, jit: bool) -> dict[str, Any]:
    """Measures one row in this process: first step, stretches, peak memory."""
    import resource

    import keras

    from benchmarks.models import MODELS, STRETCH

    log_dir = tempfile.mkdtemp(prefix="overhead-")
    stretch = STRETCH[model_name]
    try:
        with global_row(row, log_dir):
            keras.utils.set_random_seed(0)
            model, data = MODELS[model_name](jit if jit else "auto")
            BATCH[:] = [next(iter(data))[0]]
            base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.perf_counter()
            stamps: list[float] = []

            class Stamp(keras.callbacks.Callback):
                def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                    stamps.append(time.perf_counter())

            callbacks = [*callbacks_of(row, log_dir), Stamp()]
            model.fit(data, epochs=1, steps_per_epoch=1, verbose=0, callbacks=callbacks)
            first_seconds = time.perf_counter() - began
            model.fit(
                data,
                epochs=stretches,
                steps_per_epoch=stretch,
                verbose=0,
                callbacks=[*callbacks_of(row, log_dir), Stamp()],
            )
        spans = [b - a for a, b in itertools.pairwise(stamps[1:])]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finally:
        shutil.rmtree(log_dir, ignore_errors=True)
    return {"first": first_seconds, "spans": spans, "peak_kb": peak, "base_kb": base}


def in_process(model_name: str, row: str, stretches: int, jit: bool) -> dict[str, Any]:
    """Runs `alone` in a fresh process."""
    command = [sys.executable, __file__, "--alone", row, "--models", model_name]
    command += ["--rounds", str(stretches)] + (["--jit"] if jit else [])
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return result


def median(values: list[float]) -> float:
    """Returns the median; NaN of none."""
    values = sorted(values)
    n = len(values)
    return (values[(n - 1) // 2] + values[n // 2]) / 2 if n else float("nan")


def table(model_name: str, rows: list[str], rounds: int, jit: bool, starts: int) -> None:
    """Measures and prints one model's table."""
    together = [r for r in rows if r not in GLOBAL_ROWS]
    if "plain" not in together:
        together.insert(0, "plain")
    pairs = [*together, "plain again"]
    print(f"\n{model_name}{' with jit_compile=True' if jit else ''}", flush=True)
    result = interleaved(model_name, pairs, rounds, jit)
    plain = result["seconds"]["plain"]
    lone = {
        row: [in_process(model_name, row, 3, jit) for _ in range(starts)] for row in rows
    }
    lone.setdefault(
        "plain", [in_process(model_name, "plain", 3, jit) for _ in range(starts)]
    )
    first_plain = median([x["first"] for x in lone["plain"]])
    peak_plain = median([x["peak_kb"] for x in lone["plain"]])
    span_plain = median([s for x in lone["plain"] for s in x["spans"]])
    print(
        f"{'':32}{'step':>8}{'spread':>16}{'first step':>12}{'memory MB':>11}{'log kB':>8}"
    )
    for row in [*rows, "plain again"]:
        if row in result["seconds"]:
            ratios = [a / b for a, b in zip(result["seconds"][row], plain, strict=True)]
            step, n = median(ratios), len(ratios)
            low, high = sorted(ratios)[n // 4], sorted(ratios)[(3 * n) // 4]
            spread = f"{low:.3f}..{high:.3f}"
        else:
            step = median([s for x in lone[row] for s in x["spans"]]) / span_plain
            spread = "own process"
        first = memory = ""
        if row in lone:
            first = f"{median([x['first'] for x in lone[row]]) / first_plain:.2f}"
            memory = (
                f"{(median([x['peak_kb'] for x in lone[row]]) - peak_plain) / 1024:+.0f}"
            )
        logged = result["logged"].get(row, 0) / 1024
        print(
            f"{row:32}{step:8.3f}{spread:>16}{first:>12}{memory:>11}{logged:8.0f}",
            flush=True,
        )
    from benchmarks.models import STRETCH

    print(
        f"plain: {1e3 * median(plain) / STRETCH[model_name]:.2f} ms a step, "
        f"first step {first_plain:.2f} s, {rounds} rounds"
    )


def main(argv: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="mlp,conv,transformer")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=3, help="fresh processes a row")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--jit", action="store_true", help="jit_compile=True")
    parser.add_argument("--alone", default="", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    models = args.models.split(",")
    if args.alone:
        print(json.dumps(alone(models[0], args.alone, args.rounds, args.jit)))
        return
    import keras
    import tensorflow as tf

    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {device}; "
        f"tensorflow {tf.__version__}, keras {keras.__version__}"
    )
    for name in models:
        table(name, args.rows.split(","), args.rounds, args.jit, args.starts)


if __name__ == "__main__":
    main()
