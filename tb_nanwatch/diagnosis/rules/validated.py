# SPDX-License-Identifier: Apache-2.0
"""Whether a validation pass went bad by its own data, or by the weights it was given."""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules.thresholds import at


def grew_before_any_weight(m: Measured) -> bool:
    """Returns whether values of the pass were out of all scale before any weight met them.

    That is: a layer that stands before the first one with weights gave values
    {domain_growth} times those of the training's first step. The training did not do that.
    """
    trained = m.trained
    if trained is None or trained.first is None or m.onset is None:
        return False
    places = {trained.probes[j].name: j for j in trained.of("activation")}
    for i in m.of("activation"):
        j = places.get(m.probes[i].name)
        if j is None:
            continue
        if trained.weights_of(j):
            return False
        now = largest([m.onset.rms[i], m.onset.top[i]])
        if now >= at("domain_growth") * trained.first.rms[j]:
            return True
    return False
