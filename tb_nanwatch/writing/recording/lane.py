# SPDX-License-Identifier: Apache-2.0
"""Turns buckets into the overview's lane: a line of a few hundred points for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.record.schema import LANE_SERIES, Kind, Probe
from tb_nanwatch.writing.recording.buckets import Bucket
from tb_nanwatch.writing.recording.updates import is_kernel

Array = npt.NDArray[Any]

# Growth over the run's first step at which a finite run counts as run away. Clean
# trainings of the demo grow less than 1e2; float32 overflows squares at 1e19.
RUNAWAY_GROWTH: Final = 1e4
# Growth below which a runaway had not yet taken off.
TAKE_OFF_GROWTH: Final = 10.0


@dataclass
class Point:
    """One point of the lane.

    Attributes:
        step: the last step of the point.
        seconds: since the training began.
        epoch: of that step.
        values: by the names of `LANE_SERIES`.
        loss_scale: after that step; None where the loss is not scaled.
        skipped: steps of the point that the optimizer skipped.
    """

    step: int
    seconds: float
    epoch: int
    values: dict[str, float]
    loss_scale: float | None = None
    skipped: int = 0


@dataclass
class Lane:
    """The points of one run, in order."""

    points: list[Point] = field(default_factory=list)
    _first: dict[str, float] = field(default_factory=dict)

    def point(
        self,
        bucket: Bucket,
        probes: Sequence[Probe],
        sizes: Mapping[int, int],
        seconds: float,
        epoch: int,
    ) -> Point:
        """Returns the point of `bucket`; growth is relative to the values of the run's first point.

        Args:
            bucket: of training steps.
            probes: of the training phase.
            sizes: elements of each probe's tensor on one replica.
            seconds: since the training began, at the bucket's end.
            epoch: at the bucket's end.
        """
        top = bucket.rms_max
        loss = _largest(top[_losses(probes)])
        activations = _of(probes, "activation", "prediction")
        activation = _largest(top[activations])
        ends = np.fmax(np.abs(bucket.low), np.abs(bucket.high))
        weight = _largest(top[[i for i, p in enumerate(probes) if is_kernel(p)]])
        values = {
            "growth": float("nan"),
            "loss": loss,
            "gradient_norm": _norm(top, _of(probes, "gradient"), sizes),
            "activation": activation,
            "weight": weight,
            "update_ratio": _largest(bucket.updates),
            "activation_max": _largest(ends[activations]),
        }
        for name in ("loss", "activation", "weight"):
            if np.isfinite(values[name]) and values[name] > 0:
                self._first.setdefault(name, values[name])
        labels = [i for i in _of(probes, "label") if "float" in probes[i].dtype]
        self._first.setdefault("label", _largest(top[labels]))
        growths = [self._growth(values, name) for name in ("activation", "weight")]
        values["growth"] = _largest(np.array(growths))
        return Point(bucket.end, seconds, epoch, values)

    def _growth(self, values: Mapping[str, float], name: str) -> float:
        return values[name] / self._first[name] if name in self._first else float("nan")

    def _whole_growth(self, point: Point) -> float:
        values = [point.values["growth"], self._growth(point.values, "loss")]
        return max((v for v in values if v == v), default=float("nan"))

    def _excess(self, point: Point) -> float:
        """Returns how often loss, activations or weights have grown beyond what is asked of them.

        Prices of 1e5 are predicted by no smaller numbers, and made by no smaller weights: these
        have run away where they leave the first labels behind, too.
        """
        label = self._first.get("label", float("nan"))
        sizes = [point.values["activation"], point.values["weight"]]
        top = _largest(np.array(sizes))
        growth = point.values["growth"]
        if label > 0 and top == top:
            growth = min(growth, top / label)
        values = [growth, self._growth(point.values, "loss")]
        return max((v for v in values if v == v), default=float("nan"))

    def _is_back(self) -> bool:
        """Returns whether the loss had run away, and is below its first value at last.

        What it left behind in outputs or weights, such as those of units that give 0 ever
        since, keeps the model from no use then.
        """
        growth = [self._growth(p.values, "loss") for p in self.points]
        return growth[-1] < 1 and bool(np.nanmax(growth) >= RUNAWAY_GROWTH)

    def take_off(self) -> int | None:
        """Returns the first step of a runaway, None where nothing ran away.

        A run has run away where its last point is finite and its loss, largest
        activation or largest weight stands at `RUNAWAY_GROWTH` times its first
        value or more; it took off after the last point below `TAKE_OFF_GROWTH`. The
        first value is that of the first step, so that a loss which is large by its
        data's units, and grows no further, is none.
        """
        if not self.points or not self._excess(self.points[-1]) >= RUNAWAY_GROWTH:
            return None
        if self._is_back():
            return None
        growth = [self._whole_growth(p) for p in self.points]
        low = [i for i, g in enumerate(growth) if not g >= TAKE_OFF_GROWTH]
        return self.points[low[-1]].step + 1 if low else 0


def arrays(points: Sequence[Point]) -> dict[str, Array]:
    """Returns the lane's fields of a `StatusRecord`."""
    scales = [p.loss_scale for p in points if p.loss_scale is not None]
    scaled = points if len(scales) == len(points) else ()
    return {
        "lane_steps": np.array([p.step for p in points], np.int64),
        "lane_seconds": np.array([p.seconds for p in points], np.float32),
        "lane_epochs": np.array([p.epoch for p in points], np.int32),
        "lane_loss_scale": _float32(np.array(scales if scaled else [], np.float64)),
        "lane_skipped": np.array([p.skipped for p in scaled], np.int64),
        "lane": _float32(
            np.array([[p.values[s] for s in LANE_SERIES] for p in points], np.float64)
        ).reshape(-1, len(LANE_SERIES)),
    }


# A lane is drawn, and rewritten with every status: 11 bits of mantissa (0.05 %) leave
# half of it to compress. Ranges keep the numbers whole.
_KEPT_BITS: Final = np.uint32(0xFFFFF000)


def _float32(values: Array) -> Array:
    # A value that is finite in float64 must not become infinite in float32.
    top = float(np.finfo(np.float32).max)
    whole = np.clip(values, -top, top).astype(np.float32)
    return (whole.view(np.uint32) & _KEPT_BITS).view(np.float32)


def _of(probes: Sequence[Probe], *kinds: Kind) -> list[int]:
    return [i for i, p in enumerate(probes) if p.kind in kinds]


def _losses(probes: Sequence[Probe]) -> list[int]:
    losses = _of(probes, "loss")
    return [i for i in losses if probes[i].name == "total"] or losses


def _norm(top: Array, gradients: list[int], sizes: Mapping[int, int]) -> float:
    elements = np.array([sizes.get(i, 0) for i in gradients], np.float64)
    squares = top[gradients] ** 2 * elements
    finite = squares[np.isfinite(squares)]
    return float(np.sqrt(finite.sum())) if finite.size else float("nan")


def _largest(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else float("nan")
