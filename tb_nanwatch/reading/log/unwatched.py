# SPDX-License-Identifier: Apache-2.0
"""Searches that KerasTuner's own TensorBoard callback logged, without NaN Watch; pure.

KerasTuner adds TensorBoard's HParams callback beside a `TensorBoard` callback: each
training leaves its values in `<log_dir>/<trial id>/execution<k>`, and Keras its scalars
in the `train` and `validation` directories below. That is enough to list the trials,
and to find the epochs whose scalars were not finite.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError

from tb_nanwatch.compat import tensorboard
from tb_nanwatch.compat.names import Feature, has
from tb_nanwatch.record.schema import (
    HParam,
    HParamType,
    JSONScalar,
    Search,
    State,
    StatusRecord,
)

HPARAMS_PLUGIN: Final = "hparams"
SCALARS_PLUGIN: Final = "scalars"
_START_TAG: Final = "_hparams_/session_start_info"
_END_TAG: Final = "_hparams_/session_end_info"
# What `keras.callbacks.TensorBoard` calls its scalars of an epoch; their step is the
# epoch. Those of batches are many, and say nothing that these do not.
_EPOCH_TAG: Final = "epoch_"
# The name that KerasTuner gives to a run, after the search's own directory.
_RUN: Final = re.compile(r"(?:(?P<prefix>.*)/)?(?P<trial>[^/]+)/execution(?P<k>\d{1,9})")
# Seconds after which a training without a written end counts as dead. Keras writes once an
# epoch, which may take long.
_HEARTBEAT: Final = 600.0

Listing = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class BadScalar:
    """A scalar of a run with epochs in which it was NaN or infinite.

    Attributes:
        phase: "train", "validation", or the directory's own name.
        tag: of the scalar.
        first_epoch: the first of these epochs, from 0.
        count: how many there are.
        total: epochs of the scalar that TensorBoard has kept.
    """

    phase: str
    tag: str
    first_epoch: int
    count: int
    total: int


@dataclass
class LoggedTraining:
    """One training as KerasTuner's HParams record describes it."""

    run: str
    id: str
    status: StatusRecord
    scalars: list[BadScalar] = field(default_factory=list)


def only_hparams(hparams: Listing, watched: Collection[str]) -> dict[str, dict[str, Any]]:
    """Returns the tags of the runs that KerasTuner logged and NaN Watch did not.

    Args:
        hparams: the time series of the HParams plugin, by run and tag.
        watched: names of the runs with records of NaN Watch.
    """
    found = {
        run: dict(tags)
        for run, tags in hparams.items()
        if _START_TAG in tags and run not in watched and _RUN.fullmatch(run)
    }
    return found if found and has(Feature.HPARAMS_READ) else {}


def scalars_of(scalars: Listing, runs: Collection[str]) -> dict[str, dict[str, Any]]:
    """Returns the scalars of epochs in the directories below `runs`."""
    found = {}
    for child, tags in scalars.items():
        run = child.rpartition("/")[0]
        if run in runs or child in runs:
            found[child] = {t: s for t, s in tags.items() if t.startswith(_EPOCH_TAG)}
    return found


def bad_scalar(phase: str, tag: str, data: Sequence[Any]) -> BadScalar | None:
    """Returns the non-finite epochs of a scalar's data, None where all were finite."""
    bad = [int(d.step) for d in data if not math.isfinite(d.value)]
    if not bad:
        return None
    return BadScalar(phase, tag, min(bad), len(bad), len(data))


def training(
    run: str,
    tags: Mapping[str, Any],
    scalars: Listing,
    bad: Iterable[tuple[str, BadScalar]],
) -> LoggedTraining | None:
    """Returns a run of `only_hparams`, None where its record is not KerasTuner's.

    Args:
        run: its name.
        tags: its time series of the HParams plugin.
        scalars: those of `scalars_of`, of all runs.
        bad: (name of the directory, bad scalar) of all runs.
    """
    match = _RUN.fullmatch(run)
    start = _content(tags[_START_TAG]).session_start_info
    if match is None or start.group_name != match["trial"]:
        return None  # KerasTuner gives each session its trial's id
    prefix = match["prefix"] or ""
    below = [run, *(f"{run}/{phase}" for phase in ("train", "validation"))]
    series = [*tags.values(), *(s for b in below for s in scalars.get(b, {}).values())]
    updated = max((t for s in series if math.isfinite(t := s.max_wall_time)), default=0.0)
    epochs = [s.max_step for b in below for s in scalars.get(b, {}).values()]
    started = start.start_time_secs or updated
    trial_id = match["trial"]
    status = StatusRecord(
        session_id=hashlib.sha256(run.encode("utf-8", "replace")).hexdigest()[:16],
        seq=0,
        run=run,
        search=Search(id=f"hparams:{prefix}", name=prefix, started=0.0),
        trial_id=trial_id,
        number=int(trial_id) + 1 if re.fullmatch(r"[0-9]{1,9}", trial_id) else None,
        execution=int(match["k"]),
        hparams=[_hparam(name, value) for name, value in sorted(start.hparams.items())],
        state=_state(tags),
        started=started,
        updated=max(updated, started),
        heartbeat=_HEARTBEAT,
        epochs=max(epochs, default=-1) + 1,
        status="unwatched",
    )
    own = [scalar for child, scalar in bad if child in below]
    own.sort(key=lambda scalar: (scalar.phase, scalar.tag))
    return LoggedTraining(run, status.session_id, status, own)


def _content(series: Any) -> Any:
    try:
        return tensorboard.hparams_data(series.plugin_content)
    except (DecodeError, TypeError):
        return tensorboard.hparams_data(b"")


def _state(tags: Mapping[str, Any]) -> State:
    if _END_TAG not in tags:
        return "running"  # or dead: its heartbeat will tell
    end = _content(tags[_END_TAG]).session_end_info
    return "failed" if tensorboard.is_failure(end.status) else "finished"


def _hparam(name: str, value: Any) -> HParam:
    kind = value.WhichOneof("kind")
    types: dict[str | None, HParamType] = {
        "number_value": "number",
        "bool_value": "boolean",
    }
    found: JSONScalar = getattr(value, kind) if kind and kind != "null_value" else None
    if not isinstance(found, bool | int | float | str):
        found = None if found is None else str(found)
    # The record has floats only; a whole number was almost always an integer.
    if isinstance(found, float) and found.is_integer() and abs(found) < 2**53:
        found = int(found)
    return HParam(name, found, types.get(kind, "text"))
