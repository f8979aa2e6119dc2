# SPDX-License-Identifier: Apache-2.0
"""How numbers grow through the model in the first step, before anything was learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules.thresholds import at


@dataclass
class Gains:
    """The factors by which the layers scale numbers in one step; 1 where nothing was measured.

    Attributes:
        forward: the largest activation over what entered the model.
        backward: the largest gradient of a matrix over that of the last layer.
        median: of the layers with a matrix, each over what entered it.
        layers: how many of these there are.
        leap: the largest output-to-input ratio of a layer without weights.
        recurrent: the same of recurrent layers.
        steepest: the largest ratio of a layer's output to the output of the layer before it.
        place: name of that layer's output.
    """

    forward: float
    backward: float
    median: float
    layers: int
    leap: float
    recurrent: float
    steepest: float
    place: str

    @property
    def growth(self) -> float:
        """Returns the larger growth of the two passes, forward and backward."""
        return max(self.forward, math.sqrt(self.backward))


def gains_of(m: Measured) -> Gains:
    """Returns the gains of a run's first step."""
    assert m.first is not None
    rms = m.first.rms
    layers = m.of("activation")
    inputs = m.of("input")
    entering = max(1.0, largest(rms[inputs])) if inputs else 1.0
    before = largest(rms[inputs]) if inputs else math.nan
    if entered(m, before) < at("input_entered"):
        entering, before = 1.0, math.nan  # indices, or scaled by a layer
    gains = []
    steepest, place = 1.0, ""
    recurrent = leap = 1.0
    for i in layers:
        if not rms[i] > 0:
            continue
        if before > 0:
            gain = rms[i] / before
            if gain > steepest:
                steepest, place = gain, m.probes[i].name
            if not m.weights_of(i):
                leap = max(leap, gain)
            if m.matrices_of(i):
                gains.append(gain)
                if m.is_recurrent(i):
                    recurrent = max(recurrent, gain)
        before = rms[i]
    peak = largest(rms[layers])
    # If the very first step overflowed already, its finite values count.
    peak = largest(np.array([peak, largest(m.first.top[layers]) / 10]))
    return Gains(
        forward=peak / entering if peak > 0 else 1.0,
        backward=_backward(m),
        median=float(np.median(gains)) if gains else 1.0,
        layers=len(gains),
        leap=leap,
        recurrent=recurrent,
        steepest=steepest,
        place=place,
    )


def entered(m: Measured, rms: float) -> float:
    """Returns how much of the inputs' scale the first layer with a matrix passes on.

    Hardly any where a layer before it normalises, or where inputs are indices.
    """
    assert m.first is not None
    for i in m.of("activation"):
        if m.matrices_of(i):
            size = m.first.rms[i]
            return float(size / rms) if math.isfinite(size) else 1.0
    return 1.0


def _backward(m: Measured) -> float:
    assert m.first is not None
    matrices = [i for i in m.of("gradient") if len(m.probes[i].shape) >= 2]
    sizes = [float(m.first.rms[i]) for i in matrices if m.first.rms[i] > 0]
    return max(sizes) / sizes[0] if sizes else 1.0
