# SPDX-License-Identifier: Apache-2.0
"""One run in full: the answers of the routes `run`, `ranges` and `flight`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from tb_nanwatch.diagnosis.answer import clean_text
from tb_nanwatch.diagnosis.facts import facts_of
from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.contract.details import (
    Environment,
    LossScaling,
    Probes,
    RunDetail,
)
from tb_nanwatch.reading.log.reader import Detail
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.report.run_entry import run_entry
from tb_nanwatch.reading.tab.frame import frame
from tb_nanwatch.record import metadata
from tb_nanwatch.record.schema import (
    COUNT_COLUMNS,
    RANGE_COLUMNS,
    Array,
    FlightRecord,
    Phase,
    RangesRecord,
    SessionRecord,
    StatusRecord,
)
from tb_nanwatch.record.strict_json import JSONObject

_PHASES: Final[tuple[Phase, ...]] = ("train", "validation")
_FLIGHT_ARRAYS = ("steps", "rms", "full_steps", "stats", "counts")


def run(
    session: Session, detail: Detail, causes: Sequence[Cause] | None = None
) -> RunDetail:
    """Returns one run in full.

    Args:
        session: the session.
        detail: its "session" and "events" records.
        causes: from all of its records.
    """
    found = detail.records[metadata.KIND_SESSION]
    if found:
        record = found[-1]  # rewritten whole when probes are added
    else:
        record = SessionRecord(session.id, 0, train_probes=[], validation_probes=[])
    # The validation's tensors are those of the training, but for a few.
    tensors = max(len(record.train_probes), len(record.validation_probes))
    entry = replace(
        run_entry(session, causes),
        damage=[*session.damage, *detail.damage],
        clean_text=clean_text(facts_of(session.status), tensors),
    )
    probes = Probes(record.train_probes, record.validation_probes)
    episodes = {}
    for events in detail.records[metadata.KIND_EVENTS]:
        for episode in events.episodes:
            episodes[episode.id] = episode  # a later one replaces an earlier one
    return RunDetail(
        run=entry,
        probes=probes,
        episodes=[episodes[i] for i in sorted(episodes)],
        environment=Environment(
            record.model,
            record.optimizer,
            record.loss,
            record.precision,
            record.replicas,
            record.jit_compile,
            record.steps_per_execution,
            record.versions,
            record.notes,
        ),
        phases=[phase for phase in _PHASES if getattr(probes, phase)],
        loss_scaling=_loss_scaling(session.status),
    )


def _loss_scaling(status: StatusRecord) -> LossScaling | None:
    """Returns the loss scale and the skipped steps, None where no loss is scaled."""
    if not len(status.lane_loss_scale):
        return None
    return LossScaling(
        status.lane_steps.tolist(),
        status.lane_loss_scale.tolist(),
        status.lane_skipped.tolist(),
    )


def ranges(records: list[RangesRecord], damage: list[str]) -> bytes:
    """Returns the body of the route `ranges`, buckets in order of their steps.

    Args:
        records: of one phase. Those written before a probe appeared have a shorter
            probe axis; what they lack reads as never measured.
        damage: what is missing, a sentence each.
    """
    probes = max((r.bad_steps.shape[1] for r in records), default=0)
    columns = len(RANGE_COLUMNS)
    steps = _stack([r.steps for r in records], (0, 2))
    stats = _stack(
        [_widen(r.stats, probes, np.nan) for r in records], (0, probes, columns)
    )
    counts = _stack(
        [_widen(r.counts, probes, 0) for r in records], (0, probes, len(COUNT_COLUMNS))
    )
    bad_steps = _stack([_widen(r.bad_steps, probes, 0) for r in records], (0, probes))
    measured = _stack([r.measured for r in records], (0,))
    order = np.argsort(steps[:, 0], kind="stable")
    arrays = {
        "steps": steps[order],
        "stats": stats[order],
        "counts": counts[order],
        "bad_steps": bad_steps[order],
        "measured": measured[order],
    }
    header = {"buckets": len(steps), "probes": probes, "damage": damage}
    return _floats(header, arrays)


def flight(records: list[FlightRecord], damage: list[str]) -> bytes:
    """Returns the body of the route `flight`: the newest record's arrays.

    Args:
        records: of one phase, in order of their sequence numbers. Where a later
            episode came to decide the status, the last is that of its onset.
        damage: what is missing, a sentence each.
    """
    if records:
        record = records[-1]
        arrays = {name: getattr(record, name) for name in _FLIGHT_ARRAYS}
    else:
        arrays = {
            "steps": np.zeros(0),
            "rms": np.zeros((0, 0)),
            "full_steps": np.zeros(0),
            "stats": np.zeros((0, 0, len(RANGE_COLUMNS))),
            "counts": np.zeros((0, 0, len(COUNT_COLUMNS))),
        }
    return _floats({"probes": arrays["rms"].shape[1], "damage": damage}, arrays)


def _floats(extra: JSONObject, arrays: dict[str, Array]) -> bytes:
    header = {"columns": RANGE_COLUMNS, "count_columns": COUNT_COLUMNS, **extra}
    with np.errstate(over="ignore"):
        return frame(header, {n: np.asarray(a, "<f4") for n, a in arrays.items()})


def _stack(parts: list[Array], empty: tuple[int, ...]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(empty, np.float32)


def _widen(array: Array, probes: int, fill: float) -> Array:
    """Returns `array` with its probe axis (the second) lengthened to `probes`."""
    missing = probes - array.shape[1]
    if not missing:
        return array
    padding = [(0, 0)] * array.ndim
    padding[1] = (0, missing)
    return np.pad(array, padding, constant_values=fill)
