# SPDX-License-Identifier: Apache-2.0
"""Weights that came from a training that had gone bad."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import HEREDITARY

INHERITED_FIX: Final = (
    "Mend what the earlier training died of; from its weights none can go on. In a "
    'search, on_nonfinite="stop" keeps a trial that went bad from being scored, and so '
    "from being gone on with."
)


def inherited_weights(m: Measured) -> Candidate | None:
    """Returns the cause of oversized weights that a training which went bad had left behind.

    Signs:
        inherited: the weights are known to come from a training that had gone bad, and
            in the first step, before any update, outputs were {domain_growth} times the
            size of the data already.
    """
    if m.first is None or m.facts.inherited not in HEREDITARY:
        return None
    outputs = m.of("activation", "prediction")
    size = largest([largest(m.first.rms[outputs]), largest(m.first.top[outputs]) / 10])
    # A model that has learned gives outputs as large as its labels.
    data = [i for i in m.of("input", "label") if m.is_float(i)]
    growth = size / max(1.0, largest(m.first.rms[data])) if data else size
    if not growth >= at("domain_growth"):
        return None
    return Candidate(
        "inherited",
        1.0,
        0.97,
        [
            whose_weights(m),
            f"At the first step of this training, before any update, outputs were "
            f"{growth:.3g} times the size of the data already.",
        ],
        INHERITED_FIX,
    )


def whose_weights(m: Measured) -> str:
    """Returns a sentence saying that the weights came from a bad training, "" if they did not."""
    bad = m.facts.inherited
    if bad not in HEREDITARY:
        return ""
    return (
        "Its weights came from a training that had gone bad "
        f"({str(bad).replace('_', ' ')})."
    )
