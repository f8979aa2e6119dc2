# SPDX-License-Identifier: Apache-2.0
"""Makes the capsule of a run that went bad, and writes it as a directory."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from tb_nanwatch.postmortem.capsule import Capsule, without_controls
from tb_nanwatch.record.metadata import CAPSULE
from tb_nanwatch.record.schema import Config
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.recording.recorder import Recorder
from tb_nanwatch.writing.values import small_int


def make(
    kept: Kept, model: Any, session: TrainingLog, recorder: Recorder
) -> Capsule | None:
    """Returns the capsule of the onset, None where another step was kept.

    Args:
        kept: what the probes kept.
        model: that was trained.
        session, recorder: of the run.
    """
    _, onset, origin = recorder.status()
    episode = recorder.fate.deciding
    if onset is None or origin is None or episode is None:
        return None
    if recorder.locate(kept.phase, kept.step) != onset:
        return None
    environment = session.environment
    trial = session.trial
    return Capsule(
        position=onset,
        origin=origin,
        bad=list(episode.tensors),
        data=kept.data,
        variables=list(kept.variables),
        sums=list(kept.sums),
        partial=bool(kept.missing),
        missing=list(kept.missing),
        replica=kept.replica,
        replicas=environment.replicas,
        run=session.run,
        search=trial.search if trial is not None else None,
        trial_id=trial.trial_id if trial is not None else None,
        execution=trial.execution if trial is not None else 0,
        hparams=[replace(h, name=without_controls(h.name)) for h in session.hparams],
        seed=_seed(trial),
        # Subclassed models often have no configuration.
        model=_or_none(lambda: keras.saving.serialize_keras_object(model)),
        compiled=_or_none(model.get_compile_config),
        description=environment.model,
        optimizer=environment.optimizer,
        loss=environment.loss,
        precision=environment.precision,
        jit_compile=environment.jit_compile,
        run_eagerly=bool(model.run_eagerly),
        steps_per_execution=environment.steps_per_execution,
        backend=keras.backend.backend(),
        versions=dict(environment.versions),
        created=session.now(),
    )


def replace_on_disk(capsule: Capsule, place: Path, max_bytes: int) -> None:
    """Replaces a capsule on disk by a newer one."""
    new = place.with_name(f".{place.name}.complete")
    capsule.write(new, max_bytes)
    shutil.rmtree(place)
    new.rename(place)


def place_for(log_dir: str, run_dir: str, most: int) -> Path | None:
    """Returns where a run's capsule may be written, None where there are enough.

    Args:
        log_dir: of the whole search, in which capsules are counted.
        run_dir: of the run; only local directories hold capsules.
        most: capsules in `log_dir`.
    """
    if "://" in run_dir:
        return None
    there = sum(1 for _ in Path(log_dir).glob(f"**/{CAPSULE}*"))
    if there >= most:
        return None
    for n in range(1, most + 1):  # a retry stands beside the first attempt
        place = Path(run_dir, CAPSULE if n == 1 else f"{CAPSULE}_{n}")
        if not os.path.lexists(place):
            return place
    return None


def _or_none(configuration: Callable[[], Any]) -> Config | None:
    with contextlib.suppress(Exception):
        found: Config = configuration()
        return found
    return None


def _seed(trial: Any) -> int | None:
    oracle = getattr(getattr(trial, "tuner", None), "oracle", None)
    return small_int(getattr(oracle, "seed", None))
