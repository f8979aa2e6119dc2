# SPDX-License-Identifier: Apache-2.0
"""Measures one row: seconds for a stretch of steps, time to the first step, peak memory.

Every function here runs in a process that was started for it, and TensorFlow is
imported in there alone.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.rows import ROWS


class Stepper:
    """A model inside `fit`, in a thread that takes a stretch of steps when told.

    A stretch is an epoch. Everything that a callback does in it is timed, and nothing
    runs between two stretches, while other rows have their turn.

    Args:
        row: name of the row.
        model_name: name of the model.
        jit: whether to compile the step with XLA.
        log_dir: for the row's callbacks.
    """

    def __init__(self, row: str, model_name: str, jit: bool, log_dir: str) -> None:
        import keras

        from benchmarks.models import MODELS, STRETCH

        switch_on = ROWS[row].switch_on
        keras.utils.set_random_seed(0)
        model, data = MODELS[model_name](jit if jit else "auto")
        batch = next(iter(data))[0]
        self.stretch = STRETCH[model_name]
        self.steps = 0
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._over = False
        self._error: BaseException | None = None
        outer = self

        class Begin(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                outer._go.acquire()
                if outer._over:
                    self.model.stop_training = True
                outer._began = time.perf_counter()

        class End(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                outer._seconds = time.perf_counter() - outer._began
                outer._done.release()

        callbacks = [Begin(), *ROWS[row].callbacks(log_dir, batch), End()]

        def run() -> None:
            try:
                if switch_on is not None:  # for this thread alone, as TensorFlow has it
                    switch_on(log_dir)
                model.fit(
                    data,
                    epochs=10**6,
                    steps_per_epoch=self.stretch,
                    verbose=0,
                    callbacks=callbacks,
                )
            except BaseException as e:  # told in the table
                self._error = e
                self._done.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def step(self) -> float:
        """Takes one stretch and returns its seconds; raises what left `fit`."""
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        self.steps += self.stretch
        return self._seconds

    def close(self) -> None:
        """Ends the fit, after a last stretch."""
        self._over = True
        self.step()
        self._thread.join()


def start(row: str, model_name: str, jit: bool, log_dir: str) -> dict[str, float]:
    """Returns the time and memory of one training in a fresh process.

    Returns:
        `first`: seconds from the call of `fit` to the end of its first step.
        `peak`: bytes of resident memory at most, from that call on.
        `allowed`: bytes that NaN Watch may take: a copy of all variables and of a
            batch, and the ring.
    """
    import keras

    from benchmarks.models import MODELS, STRETCH

    switch_on = ROWS[row].switch_on
    if switch_on is not None:
        switch_on(log_dir)
    keras.utils.set_random_seed(0)
    model, data = MODELS[model_name](jit if jit else "auto")
    batch = next(iter(data))
    stamps: list[float] = []

    class Stamp(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            stamps.append(time.perf_counter())

    callbacks = [*ROWS[row].callbacks(log_dir, batch[0]), Stamp()]
    gc.collect()
    _forget_peak()
    began = time.perf_counter()
    model.fit(
        data,
        epochs=2,
        steps_per_epoch=STRETCH[model_name],
        verbose=0,
        callbacks=callbacks,
    )
    peak = _peak()
    variables = {id(v): v for v in (*model.variables, *model.optimizer.variables)}
    allowed = sum(v.numpy().nbytes for v in variables.values())
    allowed += sum(part.numpy().nbytes for part in batch) + _ring(log_dir)
    return {"first": stamps[0] - began, "peak": peak, "allowed": allowed}


def _forget_peak() -> None:
    # `ru_maxrss` will not do: it begins with what the parent had at its most.
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Returns the most bytes of resident memory since `_forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("/proc/self/status has no line VmHWM")


def _ring(log_dir: str) -> int:
    """Returns the bytes of NaN Watch's ring, 0 where it did not watch."""
    from tensorboard.context import RequestContext

    from tb_nanwatch.reading.log.reader import Reader
    from tb_nanwatch.reading.report.logs import make_provider
    from tb_nanwatch.writing.backends.tensorflow import RING_ROWS

    if not os.path.isdir(log_dir):
        return 0
    reader = Reader(make_provider(log_dir))
    size = 0
    for session in reader.snapshot(RequestContext(), "").sessions:
        detail = reader.detail(RequestContext(), "", session, ("session",))
        probes = detail.records["session"][-1].train_probes
        size += 4 * RING_ROWS * len(probes)
    return size


def bytes_below(directory: str) -> int:
    """Returns the size of all files below a directory."""
    return sum(f.stat().st_size for f in Path(directory).rglob("*") if f.is_file())
