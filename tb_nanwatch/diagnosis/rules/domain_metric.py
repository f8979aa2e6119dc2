# SPDX-License-Identifier: Apache-2.0
"""A metric that left its domain."""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.told import counts_text, upstream_text


def domain_of_metric(m: Measured) -> list[Candidate]:
    """Returns the cause of a non-finite metric that was computed from ordinary numbers.

    Signs:
        metric_domain: the first bad tensor is a metric, of finite numbers of ordinary
            size; loss, gradients and weights stayed finite. It is told of a contained run
            too, where a metric that no one goes by was not finite.
    """
    assert m.onset is not None
    evidence = [upstream_text(m), counts_text(m)]
    zeros = largest(m.onset.zeros[m.of("label")])
    if zeros > 0:
        evidence.append(f"{zeros:.1%} of this batch's labels were exactly zero.")
    return [
        Candidate(
            "metric_domain",
            1.0,
            0.97,
            [*evidence, "Loss and weights stayed finite: the training itself is sound."],
            fixes.of(
                m,
                "Guard the metric's division, logarithm or root, or choose another "
                "objective.",
            ),
        )
    ]
