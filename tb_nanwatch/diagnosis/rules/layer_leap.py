# SPDX-License-Identifier: Apache-2.0
"""One layer whose output is far larger than its input, while the others' are not."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.first_step import Gains
from tb_nanwatch.diagnosis.rules.thresholds import at


def leap_without_weights(m: Measured, gains: Gains) -> Candidate | None:
    """Returns the cause of growth by a layer without weights, such as a custom function.

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


def leap_at_the_onset(m: Measured) -> Candidate | None:
    """Returns the cause of growth that one layer's function made, without any weight.

    Signs:
        layer_domain: the numbers grew, and at the onset the output of a layer without
            weights had grown {leap} times more over the first step than anything that is
            computed before it; that had grown as the inputs had, within {noticeable}
            decades, and the leap is half or more of what activations grew by, in decades.
    """
    if m.first is None or m.onset is None or m.phase != "train":
        return None

    first, onset = m.first, m.onset

    def grown(i: int) -> float:
        then, now = first.rms[i], onset.rms[i]
        return float(now / then) if then > 0 and now > 0 else 1.0

    inputs = max([1.0, *map(grown, m.of("input"))])
    before = most = inputs
    leap, place, entering = 1.0, -1, 1.0
    for i in m.of("activation"):
        most = max(most, grown(i))
        if not m.weights_of(i) and grown(i) / before > leap:
            leap, place, entering = grown(i) / before, i, before
        before = max(before, grown(i))
    if leap < at("leap") or leap**2 < most:
        return None
    if entering > inputs * 10 ** at("noticeable"):
        return None  # weights had a part in it
    return Candidate(
        "layer_domain",
        2 * math.log10(most),
        0.95,
        [
            f"The output of {m.probes[place].name}, a layer without weights, had grown "
            f"{leap * entering:.3g}-fold over the first step; what is computed before it "
            f"{entering:.3g}-fold at most, and the inputs {inputs:.3g}-fold.",
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
