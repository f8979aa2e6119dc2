"""Gradients that grow through depth or time."""

from __future__ import annotations

import math

from tb_nanwatch.rules.candidate import Candidate


def amplification(growth: float, sentence: str) -> Candidate:
    """Returns the cause, for gradients that grew by `growth` on their way."""
    return Candidate(
        "gradient_amplification",
        2 * math.log10(max(growth, 10.0)),
        0.96,
        [sentence],
        "Normalise between layers (keras.layers.LayerNormalization()), clip the gradients "
        "(clipnorm=1.0), and for sequences use LSTM or GRU with an orthogonal recurrent "
        "initializer.",
    )
