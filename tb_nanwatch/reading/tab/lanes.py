# SPDX-License-Identifier: Apache-2.0
"""Lanes as the overview draws them: packed small, in blocks that seldom change; pure.

A lane of a few hundred pixels shows 8 bits of a value, so that is what travels for all
runs at once; the exact numbers of one lane are asked for where somebody points at it.
Blocks hold runs in order of their start: while a search trains only its last block is
made and sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.tab.frame import frame
from tb_nanwatch.record.schema import LANE_SERIES, Array
from tb_nanwatch.record.strict_json import json_safe

# Some 300 kB each, packed: large enough that a thousand runs are a handful of requests.
BLOCK_RUNS: Final = 256

# Codes of a value; those between are log10 of it, evenly from `low` to `high`.
NOT_A_NUMBER: Final = 0
NOT_POSITIVE: Final = 1
INFINITE: Final = 2
LEAST: Final = 3
MOST: Final = 255
# Wall time is packed as a share of the lane's last second.
_SECOND_CODES: Final = 65535
_MAX_EPOCHS: Final = 65535


def blocks(sessions: Sequence[Session]) -> list[list[Session]]:
    """Returns the sessions of one search, in order of their start, in blocks."""
    return [
        list(sessions[i : i + BLOCK_RUNS]) for i in range(0, len(sessions), BLOCK_RUNS)
    ]


def version(block: Sequence[Session]) -> str:
    """Returns a fingerprint of a block's lanes: 16 hexadecimal digits."""
    told = repr([(s.run, s.id, s.version) for s in block])
    return hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=8).hexdigest()


def packed(block: Sequence[Session]) -> bytes:
    """Returns the body of `lanes` in http_api.md, not compressed."""
    parts: dict[str, list[Array]] = {"steps": [], "seconds": [], "epochs": []}
    codes: list[Array] = []
    scales: list[Array] = []
    runs = []
    for session in block:
        status = session.status
        n = len(status.lane_steps)
        seconds, last = _pack_seconds(status.lane_seconds)
        code, scale = _pack_values(status.lane)
        parts["steps"].append(_steps_apart(status.lane_steps))
        parts["seconds"].append(seconds)
        parts["epochs"].append(np.clip(status.lane_epochs, 0, _MAX_EPOCHS))
        codes.append(code.T.ravel())
        scales.append(np.append(scale.ravel(), last))
        runs.append([session.run, session.id, n])
    header = {"runs": json_safe(runs), "series": list(LANE_SERIES)}
    return frame(
        header,
        {
            "scales": _joined(scales, "<f4").reshape(len(runs), 2 * len(LANE_SERIES) + 1),
            "steps": _joined(parts["steps"], "<u4"),
            "seconds": _joined(parts["seconds"], "<u2"),
            "epochs": _joined(parts["epochs"], "<u2"),
            "values": _joined(codes, "u1"),
        },
    )


def exact(session: Session) -> bytes:
    """Returns the body of `lane` in http_api.md: one lane in full."""
    status = session.status
    return frame(
        {"series": list(LANE_SERIES)},
        {
            "values": np.asarray(status.lane, "<f4"),
            "seconds": np.asarray(status.lane_seconds, "<f4"),
        },
    )


def _joined(parts: list[Array], dtype: str) -> Array:
    return np.concatenate([np.zeros(0), *parts]).astype(dtype)


def _steps_apart(steps: Array) -> Array:
    """Returns how many steps each point holds, int64 [n]; many runs have the same numbers."""
    apart = np.diff(np.asarray(steps, np.int64), prepend=-1)
    return np.clip(apart, 0, np.iinfo(np.uint32).max)


def _pack_seconds(seconds: Array) -> tuple[Array, float]:
    known = np.maximum.accumulate(np.nan_to_num(seconds.astype(np.float64), posinf=0.0))
    last = float(known[-1]) if len(known) else 0.0
    share = known / last if last > 0 else np.zeros(len(known))
    return np.round(np.clip(share, 0, 1) * _SECOND_CODES), last


def _pack_values(lane: Array) -> tuple[npt.NDArray[np.uint8], Array]:
    """Returns codes uint8 [n, series], and float32 [series, 2]: log10 of the extremes."""
    with np.errstate(invalid="ignore"):  # a signaling NaN, in a damaged file
        values = np.asarray(lane, np.float64)
    finite = np.isfinite(values) & (values > 0)
    with np.errstate(all="ignore"):
        decades = np.where(finite, np.log10(values), np.nan)
    some = finite.any(axis=0) if len(values) else np.zeros(len(LANE_SERIES), bool)
    low = np.where(
        some, np.min(np.where(finite, decades, np.inf), axis=0, initial=np.inf), 0
    )
    high = np.where(
        some, np.max(np.where(finite, decades, -np.inf), axis=0, initial=-np.inf), 0
    )
    width = np.where(high > low, high - low, 1.0)
    place = np.nan_to_num((decades - low) / width)
    codes = np.round(LEAST + place * (MOST - LEAST))
    codes = np.where(finite, codes, NOT_POSITIVE)
    codes = np.where(np.isnan(values), NOT_A_NUMBER, codes)
    codes = np.where(np.isposinf(values), INFINITE, codes)
    scale: Any = np.stack([low, high], axis=1).astype(np.float32)
    return codes.astype(np.uint8), scale
