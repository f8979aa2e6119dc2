# SPDX-License-Identifier: Apache-2.0
"""A step size too large for the training: the learning rate, above what is usual."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules import rate_fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.thresholds import (
    NORMALISED,
    USUAL_MOMENTA,
    USUAL_RATES,
    at,
)


def rate_too_high(m: Measured) -> Candidate | None:
    """Returns the cause "learning rate too high", weighed by its decades above the usual rate.

    Signs:
        learning_rate: the numbers grew, and the learning rate (divided by 1 - momentum,
            for a momentum beyond the optimizer's default) is above what is usual for the
            optimizer: 0.01 for SGD, 0.001 for most others. Within {noticeable} decades of it, or below, it is named only where
            little else is unusual, and with less confidence. How large the first update
            was beside the weights is told; {update_ratio} of them is too much.
    """
    rate = m.rate()
    if math.isnan(rate) or rate <= 0:
        return None
    name = str(m.optimizer.get("class_name", ""))
    usual = USUAL_RATES.get(name, 1e-2)
    momentum = m.setting("momentum")
    effective = rate
    if 0 < momentum < at("momentum"):
        effective = rate * (1 - USUAL_MOMENTA.get(name, 0.0)) / (1 - momentum)
    decades = math.log10(effective / usual)
    evidence = [
        f"The learning rate is {rate:.3g}"
        + (f" with momentum {momentum:.3g}" if 0 < momentum < 1 else "")
        + f"; {usual:.3g} is usual for this optimizer."
    ]
    if not math.isnan(m.rate_set_later()):
        evidence.append(
            f"It was set in the course of the training, by a callback: the optimizer was made "
            f"with {m.rate_at_first():.3g}."
        )
    ratio = _update_ratio(m)
    if not math.isnan(ratio):
        evidence.append(
            f"The first update of the weights, gradient times rate, was {_ratio_text(ratio)}."
        )
    # Even a usual rate is too high where nothing else is unusual.
    weight = max(decades, 0.3)
    seen = m.growth() >= at("domain_growth") or ratio >= at("update_ratio")
    sure = 0.97 if decades >= at("noticeable") else 0.7
    # A power of ten at least three times below the rate that went bad.
    lower = min(usual, 10.0 ** math.floor(math.log10(rate) - 0.5))
    return Candidate(
        "learning_rate",
        weight,
        sure if seen else 0.5,
        evidence,
        rate_fixes.lower_rate(m, lower),
        rate,
    )


def rate_at_this_scale(m: Measured) -> str | None:
    """Returns a sentence on the step size with data of this scale, None where it is small."""
    ratio = _update_ratio(m)
    if not ratio >= at("update_ratio"):
        return None
    return (
        f"With data of this scale the learning rate of {m.rate():.3g} is too high: the "
        f"first update of the weights was {_ratio_text(ratio)}."
    )


def _ratio_text(ratio: float) -> str:
    # Weights are recorded after the update: next to a large one they are that update.
    if ratio > at("drowned"):
        return "larger than the weights themselves (1e-3 of them is usual, 0.1 too much)"
    return f"up to {ratio:.3g} of their size (1e-3 is usual, 0.1 too much)"


def _update_ratio(m: Measured) -> float:
    """Returns the largest rate * gradient / weight at the first step, of matrices."""
    if m.first is None or str(m.optimizer.get("class_name", "")) in NORMALISED:
        return math.nan
    gradients = {m.probes[i].name: i for i in m.of("gradient")}
    ratios = []
    for i in m.of("weight"):
        j = gradients.get(m.probes[i].name)
        if j is None or len(m.probes[i].shape) < 2 or not m.first.rms[i] > 0:
            continue
        ratios.append(m.rate() * m.first.rms[j] / m.first.rms[i])
    return largest(ratios) if ratios else math.nan
