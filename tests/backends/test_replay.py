"""The failing step of a capsule, run again on the backend that recorded it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.record.metadata import CAPSULE
from tb_nanwatch.replay import replay
from tests.backends.models import BATCH, STEPS, BadOutput, compiled, data_of, fit
from tests.writing.logs import read_log

BACKEND = keras.backend.backend()
AT = 7


def capsule_of(kind: str, place: Path, phase: str = "train") -> Path:
    """Returns the capsule of a training that goes bad in its labels."""
    model = compiled(kind, weighted_metrics=None)
    x, y, weights = data_of(model)
    bad = y.copy()
    bad[AT * BATCH + 3] = 3e19  # its square is beyond float32
    watch = NanWatch(place, experiments=0)
    if phase == "train":
        fit(model, (x, bad, weights), watch)
    else:
        options = {"validation_data": (x, bad), "validation_batch_size": BATCH}
        fit(model, (x, y, weights), watch, **options)
    onset = read_log(place).status.onset
    assert onset is not None and (onset.phase, onset.batch) == (phase, AT)
    return place / CAPSULE


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
def test_it_comes_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    place = capsule_of(kind, tmp_path)
    keras.utils.set_random_seed(99)  # nothing of this process plays a part
    found = replay(place)
    assert found.compiled_same, found.compiled
    assert 8 < found.compared == found.bitwise, found.compiled
    assert found.postmortem.op and found.postmortem.rows == [3]
    assert not found.notes
    # From another state it is not the same, and nothing is named.
    capsule = Capsule.read(place)
    weight = next(v for v in capsule.variables if v.value is not None and v.value.ndim)
    assert weight.value is not None
    weight.value = np.zeros_like(weight.value)
    (tmp_path / "other").mkdir()
    capsule.write(tmp_path / "other" / CAPSULE, 1 << 26)
    assert replay(tmp_path / "other" / CAPSULE).bitwise < found.bitwise


def test_a_validation_step(tmp_path: Path) -> None:
    found = replay(capsule_of("dense", tmp_path, "validation"), attempt=True)
    assert found.compiled_same and 2 < found.compared == found.bitwise
    tried = {e.change: e for e in found.postmortem.experiments}
    assert not tried["unchanged"].finite and tried["rows"].finite


def test_what_goes_bad_otherwise_is_said_and_nothing_is_named(tmp_path: Path) -> None:
    capsule = Capsule.read(capsule_of("dense", tmp_path / "a"))
    capsule.origin = dataclasses.replace(capsule.origin, num_nan=5, num_pos_inf=0)
    capsule.bad[0] = capsule.origin
    capsule.write(tmp_path / "b", 1 << 26)
    found = replay(tmp_path / "b")
    assert not found.compiled_same and "did not go bad" in found.compiled
    assert found.postmortem.op is None and "nothing is named" in found.postmortem.reason


def in_a_process(place: Path, *arguments: str, **environment: str) -> Any:
    command = [sys.executable, "-m", "tb_nanwatch.reading.cli", "replay", str(place)]
    # What JAX compiled for the training is not to be found: the same is compiled anew.
    left_out = ("KERAS_BACKEND", "JAX_COMPILATION_CACHE_DIR")
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in left_out} | environment,
    )


def bad_layer_model() -> Any:
    """Returns the model of which the capsule does not hold the layer."""
    return compiled("dense", BadOutput(AT, name="bad"), weighted_metrics=None)


def test_a_new_process_runs_on_the_backend_of_the_capsule(tmp_path: Path) -> None:
    model = bad_layer_model()
    fit(model, data_of(model), NanWatch(tmp_path, experiments=0))
    assert read_log(tmp_path).status.steps == STEPS
    # Whatever the environment says.
    done = in_a_process(tmp_path, KERAS_BACKEND="tensorflow")
    assert done.returncode == 2 and "BadOutput" in done.stderr
    function = "tests.backends.test_replay:bad_layer_model"
    done = in_a_process(tmp_path, "--model", function, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bitwise"] == found["compared"] > 8
    assert found["postmortem"]["op_type"] == "RealDiv"
    assert found["postmortem"]["source"]["function"] == "call"


def test_it_runs_on_no_other_backend(tmp_path: Path) -> None:
    capsule = Capsule.read(capsule_of("dense", tmp_path / "a"))
    assert capsule.backend == BACKEND and BACKEND in capsule.versions
    for name, why in (("tensorflow", "KERAS_BACKEND=tensorflow"), ("mlx", "one of")):
        if name == BACKEND:
            continue
        capsule.backend = name
        capsule.write(tmp_path / name, 1 << 26)
        with pytest.raises(CapsuleError, match=why):
            replay(tmp_path / name)
