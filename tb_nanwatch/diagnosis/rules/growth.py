# SPDX-License-Identifier: Apache-2.0
"""Finds what made numbers grow until they overflowed, in decades measured at step 0."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules.amplification import through_layers, through_time
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.first_step import gains_of
from tb_nanwatch.diagnosis.rules.inherited import inherited_weights
from tb_nanwatch.diagnosis.rules.initialization import large_first_weights
from tb_nanwatch.diagnosis.rules.labels import labels_out_of_range
from tb_nanwatch.diagnosis.rules.layer_leap import (
    growth_at_one_place,
    leap_at_the_onset,
    leap_without_weights,
)
from tb_nanwatch.diagnosis.rules.learning_rate import rate_at_this_scale, rate_too_high
from tb_nanwatch.diagnosis.rules.settings import settings_driver
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.diagnosis.rules.unscaled import unscaled_inputs, unscaled_targets
from tb_nanwatch.wording.counts import counted


def growth_candidates(m: Measured, growth: float) -> list[Candidate]:
    """Returns the drivers of a growth, each weighed by the decades it adds."""
    found = [
        rule(m)
        for rule in (
            settings_driver,
            unscaled_inputs,
            unscaled_targets,
            _gain_driver,
            leap_at_the_onset,
            labels_out_of_range,
            rate_too_high,
        )
    ]
    drivers = [c for c in found if c is not None]
    at_this_rate = rate_at_this_scale(m)
    how = _how_it_grew(m, growth)
    for candidate in drivers:
        if at_this_rate and candidate.id in ("unscaled_inputs", "unscaled_targets"):
            candidate.evidence.append(at_this_rate)
            candidate.about = m.rate()
        candidate.evidence.append(how)
    came = inherited_weights(m)
    if came is None:
        return drivers
    # A training that began blown up was driven there by no setting of its own: these
    # can only have carried on what the earlier one died of.
    total = sum(c.weight for c in drivers) or 1.0
    came.weight = total * at("inherited_share") / (1 - at("inherited_share"))
    return [came, *drivers]


def _how_it_grew(m: Measured, growth: float) -> str:
    onset = m.facts.onset
    steps = onset.step if onset is not None else 0
    if math.isnan(growth):
        return "How it grew was not recorded."
    if m.at_first_step and m.facts.status == "runaway":
        return (
            f"Loss, activations or weights grew {growth:.3g}-fold over the first step, from "
            "that step on."
        )
    if m.at_first_step:
        return "It went bad in its first step: nothing had grown before."
    if f"{growth:.3g}" == "1":
        return (
            f"Loss, activations and weights had not grown after {counted(steps, 'step')}."
        )
    return (
        f"Loss, activations or weights had grown {growth:.3g}-fold over the first step "
        f"after {counted(steps, 'step')}."
    )


def _gain_driver(m: Measured) -> Candidate | None:
    """Returns the cause of growth from layer to layer before anything was learned."""
    if m.phase == "validation" or m.facts.inherited is not None:
        return None  # these weights are no longer the initial ones
    gains = gains_of(m)
    if max(gains.forward, gains.backward) < at("depth_growth"):
        return None
    # The first that applies: each looks at what the ones before leave.
    return (
        leap_without_weights(m, gains)
        or through_time(m, gains)
        or large_first_weights(gains)
        or growth_at_one_place(gains)
        or through_layers(m, gains)
    )
