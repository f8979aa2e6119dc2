# SPDX-License-Identifier: Apache-2.0
"""The rules that name a run's cause, and every threshold they use; pure.

First the way in which the run went bad is determined. Values of its last batch may be far
beyond all earlier ones, and measurements may blame them. Otherwise, either one tensor *left
its domain*: what it was computed from was finite and of ordinary size (a division by zero,
the logarithm of a negative number, data that came in bad). Or the numbers *grew* until they
no longer fitted; then each possible driver of the growth (step size, scale of inputs and
targets, gain of the initial weights, depth or time, settings of the optimizer) is measured
at the run's first step, in decades above what is usual. A driver's confidence is its rule's
own, times its share of all drivers' decades (`ranking.py`).

What a rule looks for stands in its docstring below "Signs:", by cause; docs/causes.md
quotes it, with the values of the thresholds that it names in braces.
"""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.data import bad_data
from tb_nanwatch.diagnosis.rules.domain import domain_candidates, left_domain
from tb_nanwatch.diagnosis.rules.growth import growth_candidates
from tb_nanwatch.diagnosis.rules.half import in_half_precision
from tb_nanwatch.diagnosis.rules.outlier import outlier_data
from tb_nanwatch.diagnosis.rules.stall import stall_candidates
from tb_nanwatch.diagnosis.rules.thresholds import THRESHOLDS, at
from tb_nanwatch.diagnosis.rules.unscaled import overflowed_by_inputs, unscaled_data

__all__ = ["THRESHOLDS", "Candidate", "candidates", "in_half_precision", "unscaled_data"]


def candidates(m: Measured) -> list[Candidate]:
    """Returns the causes that the record speaks for, in no order."""
    if m.origin is not None:
        kind = m.probes[m.origin].kind
        if kind in ("input", "label", "sample_weight"):
            return [bad_data(m, kind)]
    outliers = outlier_data(m)
    if outliers:
        return outliers
    if m.first is None or m.onset is None:
        return []
    if m.origin is not None and m.facts.scaling and m.probes[m.origin].kind == "gradient":
        return stall_candidates(
            m
        )  # the optimizer skips the update, so such a gradient reaches no weight
    if m.facts.status == "stalled" and m.origin is None:
        return []
    if m.origin is not None and left_domain(m):
        return overflowed_by_inputs(m, domain_candidates(m))
    if m.trained is not None and m.growth() >= at("domain_growth"):
        if m.origin is not None and _grew_before_any_weight(m):
            return domain_candidates(m)
        # What a validation pass shows first is the training's divergence all the same:
        # its drivers are measured at the training's own first step.
        return growth_candidates(m.trained, m.growth())
    return growth_candidates(m, m.growth())


def _grew_before_any_weight(m: Measured) -> bool:
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
