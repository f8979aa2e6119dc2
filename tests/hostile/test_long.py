"""Long and large: millions of steps, a thousand trials, deep and wide models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.record.schema import RANGE_COLUMNS
from tests.hostile.conftest import FULL, Tally
from tests.hostile.soak import Soak, write_readme
from tests.hostile.training import MAX_GROWTH, Trained, trained, uncounted
from tests.hostile.training import write_readme as write_trained
from tests.hostile.writers import RANGES
from tests.reading.records import CTX, LOADERS
from tests.writing.logs import read_log

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
SOAK_STEPS = 1_000_000 if FULL else 4_000
TRAINED_STEPS = 1_000_000 if FULL else 5_000
# What a million steps of the conv model's probes may take, by DESIGN.
MAX_LOG_BYTES = 4_000_000
TRIALS, WRITERS = (1_000, 4) if FULL else (120, 4)
LAYERS = 500 if FULL else 40


def test_a_soak_keeps_every_extreme_in_a_small_log(tmp_path: Path, tally: Tally) -> None:
    soak = Soak(tmp_path, SOAK_STEPS)
    soak.play()
    assert soak.log_bytes() < MAX_LOG_BYTES
    # The log grows with the logarithm of the steps.
    half = len(soak.sizes) // 2
    assert soak.sizes[-1] - soak.sizes[half] < soak.sizes[half]
    # So does no memory: at first what is kept of the last steps fills up.
    assert soak.memory[-1] - soak.memory[half] < (8 if FULL else 32) << 20
    log = read_log(tmp_path)
    assert log.status.steps == SOAK_STEPS
    ranges = [r for r in log.all("ranges") if r.phase == "train"]
    steps = np.concatenate([r.steps for r in ranges])
    assert steps[0, 0] == 0 and steps[-1, 1] == SOAK_STEPS - 1
    np.testing.assert_array_equal(steps[1:, 0], steps[:-1, 1] + 1)
    stats = np.concatenate([r.stats for r in ranges])
    column = {name: stats[:, :, i] for i, name in enumerate(RANGE_COLUMNS)}
    for name, oracle, reduce in (
        ("rms_min", soak.rms.low, np.nanmin),
        ("rms_max", soak.rms.high, np.nanmax),
        ("min", soak.elements.low, np.nanmin),
        ("max", soak.elements.high, np.nanmax),
    ):
        np.testing.assert_allclose(reduce(column[name], axis=0), oracle, rtol=1e-5)
    passes = [r for r in log.all("ranges") if r.phase == "validation"]
    assert passes[-1].steps[-1, 1] == -(-SOAK_STEPS // 1_000) * 50 - 1
    tally.add("simulated training steps", SOAK_STEPS)
    if FULL and os.environ.get("NANWATCH_UPDATE_DOCS") == "1":
        write_readme(SOAK_STEPS, soak.log_bytes())


@pytest.fixture(scope="module")
def long_training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A watched training of `TRAINED_STEPS`, and its log directory."""
    log_dir = tmp_path_factory.mktemp("long")
    return trained(TRAINED_STEPS, log_dir), log_dir


def test_a_real_training_is_in_the_log_step_by_step(
    long_training: tuple[Trained, Path], tally: Tally
) -> None:
    """As long as it may be, in the memory of its beginning, to the same weights."""
    watched, log_dir = long_training
    plain = trained(TRAINED_STEPS, None)
    assert list(uncounted(read_log(log_dir), TRAINED_STEPS)) == []
    assert watched.iterations == plain.iterations == TRAINED_STEPS
    assert watched.weights == plain.weights
    assert watched.growth < max(plain.growth, 0) + MAX_GROWTH
    # The second half of the steps adds less to the log than the first; the last place
    # brings the fault, and what is kept of it.
    *sizes, _ = watched.log_bytes
    assert sizes[-1] - sizes[len(sizes) // 2] < sizes[len(sizes) // 2]
    tally.add("training steps, each looked for in the log", TRAINED_STEPS)
    if FULL and os.environ.get("NANWATCH_UPDATE_DOCS") == "1":
        write_trained(TRAINED_STEPS, plain, watched)


def test_a_step_that_is_missing_is_missed(long_training: tuple[Trained, Path]) -> None:
    """Of the check itself: fewer steps, other values, buckets that are not where they were."""
    steps, log = TRAINED_STEPS, read_log(long_training[1])
    assert list(uncounted(log, steps)) == []
    assert len(list(uncounted(log, steps + 1))) == 2
    (ranges, *_) = [r for r in log.all("ranges") if len(r.steps) > 1]
    ranges.stats = ranges.stats * np.float32(1 + 1e-6)
    assert len(list(uncounted(log, steps))) == len(ranges.steps)
    ranges.steps = ranges.steps + 1
    assert "buckets that overlap, or steps between them" in uncounted(log, steps)


def test_trials_of_four_processes_are_read_whole(tmp_path: Path, tally: Tally) -> None:
    share = TRIALS // WRITERS
    command = [sys.executable, "-m", "tests.hostile.writers", str(tmp_path)]
    processes = [
        subprocess.Popen(
            [*command, str(1 + i * share), str(share)],
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        for i in range(WRITERS)
    ]
    assert [p.wait(timeout=300) for p in processes] == [0] * WRITERS
    for make in LOADERS.values():
        loaded = make(tmp_path)
        try:
            assert_whole(loaded)
        finally:
            loaded.close()
    tally.add("trials written by four processes at once", TRIALS)


def assert_whole(loaded: Any) -> None:
    reader = Reader(loaded.provider, max_age=0)

    def complete() -> bool:
        found = reader.snapshot(CTX, "").sessions
        return len(found) == TRIALS and all(s.trial and not s.damage for s in found)

    assert loaded.wait(complete, seconds=120)
    sessions = {s.run: s for s in reader.snapshot(CTX, "").sessions}
    for number in range(1, TRIALS + 1):
        session = sessions[f"{number:04d}/execution0"]
        assert session.status.status == ("diverged" if number % 3 == 0 else "clean")
        assert session.trial is not None and session.trial.score == float(number)
        if number % 10 == 0 or FULL:
            detail = reader.detail(CTX, "", session, ("ranges", "events"))
            assert detail.damage == []
            assert [len(r) for r in detail.records.values()] == [RANGES, RANGES]


@pytest.mark.usefixtures("clean_keras")
def test_a_deep_model(tmp_path: Path, tally: Tally) -> None:
    layers = [keras.layers.Dense(4, name=f"layer_{i:03d}") for i in range(LAYERS)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "mse")
    x = np.ones((32, 4), np.float32)
    bad = x.copy()
    bad[17] = np.inf
    watch = NanWatch(tmp_path / "log")
    model.fit(bad, x, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
    log = read_log(tmp_path / "log")
    kinds = [p.kind for p in log.session.train_probes]
    assert kinds.count("activation") == LAYERS
    assert kinds.count("gradient") == kinds.count("weight") == 2 * LAYERS
    onset = log.status.onset
    assert onset is not None and (onset.step, onset.batch) == (2, 2)
    assert log.status.origin is not None and log.status.origin.kind == "input"
    tally.add("layers of one model", LAYERS)


def test_a_wide_layer_costs_its_output_once(tmp_path: Path, tally: Tally) -> None:
    """What is watched lives until the step has been looked at, and is not copied."""
    elements = 100_000_000 if FULL else 10_000_000

    def peak(*arguments: str) -> int:
        program = ["-m", "tests.hostile.victim_memory", str(elements), *arguments]
        done = subprocess.run(
            [sys.executable, *program],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        return int(done.stdout.splitlines()[-1])  # what a training says comes first

    extra = peak(str(tmp_path / "log")) - peak()
    assert read_log(tmp_path / "log").status.steps == 12
    assert extra < 4 * elements * 1.25 + (48 << 20)
    tally.add("values of one layer's output", elements)
