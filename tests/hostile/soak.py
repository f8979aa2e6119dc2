"""A training of any length, played to the recorder by a simulated clock.

`python -m tests.hostile.soak [STEPS] [--write]` plays a million steps of the benchmark's
convolutional model: its probes, its 0.138 s a step, an epoch and a validation pass
every 1,000 steps, full looks that take 0.2 s each. With `--write` docs/robustness.md says so.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made import put
from tb_nanwatch.record.schema import Phase, Probe
from tb_nanwatch.writing.log.environment import TrainingSetup
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.recording.observer import Layout
from tb_nanwatch.writing.recording.recorder import FIRST_LOOKS, Recorder

STEP_SECONDS, LOOK_SECONDS = 0.138, 0.2
EPOCH, PASS = 1_000, 50
# Rows that a reading brings. It is due after a second, that is 8 steps; later on, where
# the log no longer follows the seconds, more at a time save an hour of playing.
FIRST_WINDOW, WINDOW, FIRST_STEPS = 8, 50, 5_000
ELEMENTS = 16


def conv_probes() -> dict[Phase, list[Probe]]:
    """Returns the probes of the benchmark's convolutional model, built as it is."""
    names = [f"conv2d_{i}" for i in range(10)]
    probes = [Probe("input", "input", "", "float32", [64, 32, 32, 3])]
    probes.append(Probe("label", "label", "", "int64", [64]))
    for i, name in enumerate(names):
        side = 32 >> (i > 3) >> (i > 6)
        for layer in (name, f"batch_normalization_{i}", f"re_lu_{i}"):
            probes.append(
                Probe("activation", layer, layer, "float32", [64, side, side, 32])
            )
    probes.append(Probe("activation", "dense", "dense", "float32", [64, 10]))
    probes.append(Probe("prediction", "prediction", "", "float32", [64, 10]))
    probes += [Probe("loss", n, "", "float32", []) for n in ("output", "total")]
    validation = list(probes)
    weights = [f"{n}/{v}" for n in (*names, "dense") for v in ("kernel", "bias")]
    weights += [
        f"batch_normalization_{i}/{v}" for i in range(10) for v in ("gamma", "beta")
    ]
    probes += [
        Probe("gradient", w, w.rpartition("/")[0], "float32", [32, 32]) for w in weights
    ]
    probes += [
        Probe("optimizer", f"adam/{w}_{slot}", "", "float32", [32, 32])
        for w in weights
        for slot in ("momentum", "velocity")
    ]
    probes += [
        Probe("weight", w, w.rpartition("/")[0], "float32", [32, 32]) for w in weights
    ]
    state = [
        f"batch_normalization_{i}/{v}" for i in range(10) for v in ("mean", "variance")
    ]
    probes += [
        Probe("layer_state", s, s.rpartition("/")[0], "float32", [32]) for s in state
    ]
    return {"train": probes, "validation": validation}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Extremes:
    """The oracle: what was the smallest and largest of each probe, ever."""

    low: Any = None
    high: Any = None

    def add(self, low: Any, high: Any) -> None:
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)


@dataclass
class Soak:
    """A training that is played.

    Attributes:
        rms, elements: the extremes of each training probe over all steps, and over all
            full looks.
        memory: bytes held after each tenth of the steps.
        sizes: bytes of log after each tenth of the steps.
    """

    logdir: Path
    steps: int
    clock: Clock = field(default_factory=Clock)
    rms: Extremes = field(default_factory=Extremes)
    elements: Extremes = field(default_factory=Extremes)
    memory: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def play(self) -> None:
        rng = np.random.default_rng(5)
        clock, probes = self.clock, conv_probes()
        recorder = Recorder(clock=clock)
        session = TrainingLog(
            str(self.logdir), "run", recorder, TrainingSetup(), clock=clock
        )
        session.begin()
        layouts = {
            phase: Layout(
                phase, p, list(range(len(p))), list(range(len(p))), len(p), False
            )
            for phase, p in probes.items()
        }
        sizes = {
            phase: np.array([np.prod(q.shape, dtype=float) for q in p])
            for phase, p in probes.items()
        }
        looked: set[Phase] = set()
        early = range(FIRST_LOOKS)
        # Phases whose next step the recorder wants, since it looks at two in a row.
        pairs: set[Phase] = set()

        def look(phase: Phase, step: int, scale: Any) -> None:
            layout = layouts[phase]
            tensors = [(rng.normal(size=ELEMENTS) * s).astype(np.float32) for s in scale]
            if phase == "train":
                self.elements.add(
                    np.array([t.min() for t in tensors]),
                    np.array([t.max() for t in tensors]),
                )
            clock.now += LOOK_SECONDS
            looked.add(phase)
            pairs.discard(phase)
            if recorder.observe(layout, 0, step, tensors).limit < 0:
                pairs.add(phase)

        def window(phase: Phase, first: int, n: int, ask: bool) -> None:
            # Scales drift over the training, each its own way, with rare spikes.
            level = np.exp(np.sin(first / 1e5 + np.arange(len(sizes[phase]))))
            scale = level * np.exp(0.1 * rng.normal(size=(n, len(level))))
            scale[rng.random(scale.shape) < 1e-5] *= 9.0
            rows = (scale**2 * sizes[phase] / 2).astype(np.float32)
            for i in range(n):
                clock.now += STEP_SECONDS
                asked = phase not in looked or first + i in early or (ask and i == 0)
                if asked or phase in pairs:
                    look(phase, first + i, scale[i])
            recorder.rows(layouts[phase], 0, first, rows)
            if phase == "train":
                seen = np.sqrt(2.0 * rows.astype(np.float64) / sizes[phase])
                self.rms.add(seen.min(0), seen.max(0))

        step = validated = 0
        ask = False
        for begin in range(0, self.steps, EPOCH):
            recorder.begin_epoch(begin // EPOCH, step)
            session.epochs = begin // EPOCH + 1
            while step < min(begin + EPOCH, self.steps):
                n = FIRST_WINDOW if step < FIRST_STEPS else WINDOW
                window("train", step, n, ask)
                step += n
                ask = recorder.wants_look()
                session.flush()
            recorder.begin_validation(validated, step)
            for _ in range(0, PASS, 10):
                window("validation", validated, 10, False)
                validated += 10
                session.flush()
            recorder.end_validation()
            session.flush()
            if step * 10 // self.steps > len(self.sizes):
                self.sizes.append(self.log_bytes())
                self.memory.append(resident_bytes())
        session.end("finished")
        session.writer.close()

    def log_bytes(self) -> int:
        return sum(p.stat().st_size for p in self.logdir.rglob("*") if p.is_file())


def resident_bytes() -> int:
    """Returns the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
START, END = "<!-- soak: made by tests/hostile/soak.py -->", "<!-- /soak -->"


def write_readme(steps: int, size: int) -> None:
    """Writes into docs/robustness.md what so many steps take, in bytes of log."""
    probes = len(conv_probes()["train"])
    said = (
        f"{steps:,} steps of the model of 10 convolutions, with {probes} tensors watched "
        f"and a\nvalidation pass every {EPOCH:,} steps, took {size / 1e6:.2f} MB of log "
        "(played by a simulated clock)."
    )
    put(PAGE, START, END, said)


def main(steps: int, write: bool = False) -> None:
    """Plays it, and prints what it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), steps)
        soak.play()
        size = soak.log_bytes()
    probes = {k: len(v) for k, v in conv_probes().items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{steps:,} steps of {probes}: {size / 1e6:.2f} MB of log, by tenths "
        f"{[round(s / 1e6, 2) for s in soak.sizes]}, peak memory {peak:.0f} MB, "
        f"{time.monotonic() - began:.0f} s"
    )
    if write:
        write_readme(steps, size)


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    numbers = [int(a) for a in sys.argv[1:] if a != "--write"]
    main(numbers[0] if numbers else 1_000_000, "--write" in sys.argv)
