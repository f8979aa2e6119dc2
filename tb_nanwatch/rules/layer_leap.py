"""A layer that gives far more than enters it, beside others that do not."""

from __future__ import annotations

import math

from tb_nanwatch.measured import Measured
from tb_nanwatch.rules import fixes
from tb_nanwatch.rules.candidate import Candidate
from tb_nanwatch.rules.first_step import Gains
from tb_nanwatch.rules.thresholds import at


def leap_without_weights(m: Measured, gains: Gains) -> Candidate | None:
    """Returns the cause of growth that a layer's function makes, whatever the weights.

    Signs:
        layer_domain: in the first step, before any update, a layer without weights gave
            at least {leap} times what entered it, and with it half or more of what
            activations grew by, in decades.
    """
    if gains.leap < at("leap") or gains.leap**2 < gains.forward:
        return None
    return Candidate(
        "layer_domain",
        2 * math.log10(gains.growth),
        0.95,
        [
            f"At the first step, before any update, a layer without weights gave "
            f"{gains.leap:.3g} times what entered it."
        ],
        fixes.of_layer(
            m,
            "This layer's function grows out of bounds (an exponential or a power): "
            "bound its argument, e.g. keras.ops.exp(keras.ops.minimum(x, 20.0)).",
        ),
    )


def growth_at_one_place(gains: Gains) -> Candidate | None:
    """Returns the cause of growth that is not spread over the layers.

    Signs:
        layer_domain: in the first step, before any update, activations grew
            {depth_growth}-fold or more, and more than half of that, in decades, at one
            place: by an operation between two layers, or by one layer's weights.
    """
    if gains.forward < at("depth_growth") or gains.steepest**2 <= gains.forward:
        return None
    return Candidate(
        "layer_domain",
        2 * math.log10(gains.growth),
        0.7,
        [
            f"At the first step, before any update, the output of {gains.place} was "
            f"{gains.steepest:.3g} times that of the layer before it; the median layer gave "
            f"{gains.median:.3g} times what entered it.",
            "An operation between the two (an exponential, a power) does that, or "
            "weights of this layer that begin too large.",
        ],
        "Bound what enters this layer, e.g. keras.ops.exp(keras.ops.minimum(x, 20.0)); "
        "where nothing is computed before it, take an initializer that keeps the "
        'scale, such as "glorot_uniform".',
    )
