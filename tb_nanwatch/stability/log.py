# SPDX-License-Identifier: Apache-2.0
"""Writes the frontier to the log, and converts spaces to KerasTuner's objects."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import keras_tuner

from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import HParam
from tb_nanwatch.stability.frontier import KnownFrontier
from tb_nanwatch.stability.space import StableSpace
from tb_nanwatch.writing.log.files import resolved
from tb_nanwatch.writing.log.summary import EventWriter
from tb_nanwatch.writing.search import identities

# The run that holds the frontier, beside the trials'.
RUN: Final = "frontier"


def write(tuner: Any, frontier: KnownFrontier, stable: StableSpace) -> None:
    """Writes the frontier into the search's log directory."""
    search_id, _ = identities.of(tuner)
    steps, seconds = tuner.oracle.spent()
    record = schema.FrontierRecord(
        uuid.uuid4().hex[:16],
        0,
        search_id=search_id,
        boundaries=list(frontier.boundaries),
        space=list(stable.specs),
        code=stable.code,
        kept=stable.kept,
        trials=frontier.trials,
        bad=frontier.bad,
        steps=tuner.steps,
        spent_steps=steps,
        seconds=seconds,
        written_at=time.time(),
    )
    writer = EventWriter(os.path.join(resolved(tuner.log_dir), RUN))
    writer.write(record)
    writer.close()


def hyperparameters_of(specs: Sequence[HParam]) -> Any:
    """Returns declarations as `keras_tuner.HyperParameters`."""
    hp = keras_tuner.HyperParameters()
    for spec in specs:
        _declare(hp, spec, 0)
    return hp


def _declare(hp: Any, spec: HParam, depth: int) -> None:
    if depth < len(spec.conditions):
        condition = spec.conditions[depth]
        with hp.conditional_scope(condition.name, list(condition.values)):
            _declare(hp, spec, depth + 1)
    elif spec.type in ("int", "float"):
        kind = hp.Int if spec.type == "int" else hp.Float
        kind(
            spec.name,
            spec.min,
            spec.max,
            step=spec.step,
            sampling=spec.sampling or "linear",
            default=spec.default,
        )
    elif spec.type == "choice":
        hp.Choice(spec.name, spec.values, ordered=spec.ordered, default=spec.default)
    elif spec.type == "boolean":
        hp.Boolean(spec.name, default=bool(spec.default))
    else:
        hp.Fixed(spec.name, spec.value if spec.value is not None else spec.default)
