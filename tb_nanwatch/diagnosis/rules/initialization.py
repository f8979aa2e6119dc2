# SPDX-License-Identifier: Apache-2.0
"""Weights that begin too large."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.first_step import Gains
from tb_nanwatch.diagnosis.rules.thresholds import at


def large_first_weights(gains: Gains) -> Candidate | None:
    """Returns the cause where most layers' outputs are far larger than their inputs.

    Signs:
        initialization: in the first step, before any update, activations grew
            {depth_growth}-fold or more from the input on, and {layer_gain}-fold or more
            in half of the layers.
    """
    if gains.forward < at("depth_growth") or gains.median < at("layer_gain"):
        return None
    return Candidate(
        "initialization",
        2 * math.log10(gains.growth),
        0.97,
        [
            f"At the first step, before any update, activations grew {gains.forward:.3g}-fold "
            f"from the input on, {gains.median:.3g}-fold in a layer (0.5 to 2 is usual)."
        ],
        'Use an initializer that keeps the scale: "he_normal" with relu, '
        '"glorot_uniform" with tanh.',
    )
