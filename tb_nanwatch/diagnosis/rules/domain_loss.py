# SPDX-License-Identifier: Apache-2.0
"""A loss that left its domain."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured, largest, smallest
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.labels import unknown_classes
from tb_nanwatch.diagnosis.rules.told import counts_text, upstream_text


def domain_of_loss(m: Measured) -> list[Candidate]:
    """Returns the causes of a non-finite loss that was computed from ordinary numbers.

    Signs:
        label_range: the first bad tensor is a loss, and labels that are integers, one for
            a row of several outputs, name a class below 0 or beyond the last. XLA and a
            GPU give NaN then, where TensorFlow's CPU operation raises an error.
        loss_domain: the first bad tensor is a loss, and predictions, labels and all else
            that it was computed from were finite and of ordinary size. The share of
            labels that are zero, and the ranges of labels and predictions, are told.
    """
    assert m.onset is not None
    evidence = [upstream_text(m), counts_text(m)]
    labels, predictions = m.of("label"), m.of("prediction")
    zeros = largest(m.onset.zeros[labels])
    if zeros > 0:
        evidence.append(f"{zeros:.1%} of this batch's labels were exactly zero.")
    low, high = smallest(m.onset.low[labels]), largest(m.onset.high[labels])
    if not math.isnan(low):
        evidence.append(f"Labels lay in [{low:.3g}, {high:.3g}].")
    low, high = smallest(m.onset.low[predictions]), largest(m.onset.high[predictions])
    if not math.isnan(low):
        evidence.append(f"Predictions lay in [{low:.3g}, {high:.3g}].")
    loss = [
        Candidate(
            "loss_domain",
            1.0,
            0.97,
            evidence,
            fixes.of(
                m,
                "The loss left its domain: keep the arguments of its logarithms and roots "
                "above 0, and its denominators away from 0.",
            ),
        )
    ]
    return [*unknown_classes(m), *loss]
