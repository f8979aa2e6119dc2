# SPDX-License-Identifier: Apache-2.0
"""Gradients that grow through depth or time."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.clipping import clip
from tb_nanwatch.diagnosis.rules.first_step import Gains
from tb_nanwatch.diagnosis.rules.thresholds import at


def amplification(m: Measured, growth: float, sentence: str) -> Candidate:
    """Returns the cause, for gradients that grew by `growth` on their way."""
    clipped = clip(
        m, "clipnorm=1.0, or clipvalue=1.0 where their square is beyond the dtype"
    )
    return Candidate(
        "gradient_amplification",
        2 * math.log10(max(growth, 10.0)),
        0.96,
        [sentence],
        f"Normalise between layers (keras.layers.LayerNormalization()), {clipped}, and for "
        "sequences use LSTM or GRU with an orthogonal recurrent initializer.",
    )


def through_time(m: Measured, gains: Gains) -> Candidate | None:
    """Returns the cause where each step of a recurrent loop multiplies gradients.

    Signs:
        gradient_amplification: in the first step, before any update, a recurrent layer
            gave {depth_growth} times what entered it, or more.
    """
    if gains.recurrent < at("depth_growth"):
        return None
    return amplification(
        m,
        gains.growth,
        f"A recurrent layer's output was {gains.recurrent:.3g} times its input before "
        "anything was learned: its loop multiplies at every step of the sequence.",
    )


def through_layers(m: Measured, gains: Gains) -> Candidate:
    """Returns the cause where each of many layers multiplies gradients by a little.

    Signs:
        gradient_amplification: in the first step, before any update, activations grew
            {depth_growth}-fold or more through layers of which each adds little; or
            gradients did from the last layer to the first.
    """
    if gains.forward >= at("depth_growth"):
        return amplification(
            m,
            gains.growth,
            f"At the first step, before any update, activations grew {gains.forward:.3g}-fold "
            f"through {gains.layers} layers, only {gains.median:.3g}-fold in each.",
        )
    return amplification(
        m,
        math.sqrt(gains.backward),
        f"At the first step gradients grew {gains.backward:.3g}-fold from the last layer to "
        "the first, while activations did not.",
    )
