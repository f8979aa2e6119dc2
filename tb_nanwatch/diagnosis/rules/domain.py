# SPDX-License-Identifier: Apache-2.0
"""A tensor left its domain: what it was computed from was finite and of ordinary size."""

from __future__ import annotations

import math
from collections.abc import Callable

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.domain_gradient import domain_of_gradient
from tb_nanwatch.diagnosis.rules.domain_layer import domain_of_layer
from tb_nanwatch.diagnosis.rules.domain_loss import domain_of_loss
from tb_nanwatch.diagnosis.rules.domain_metric import domain_of_metric
from tb_nanwatch.diagnosis.rules.domain_update import domain_of_update
from tb_nanwatch.diagnosis.rules.half import overflowed_half
from tb_nanwatch.diagnosis.rules.thresholds import at


def left_domain(m: Measured) -> bool:
    """Returns whether the origin was computed from finite numbers of ordinary size.

    That is: all before it in the step was below {domain_top_large} ({domain_top} for a
    gradient) in size, and after the first step nothing had grown {domain_growth}-fold
    over it. A layer that multiplies by a matrix cannot leave a domain but by its own
    activation function: after the first step only numbers below {matrix_top} count for
    it, and none in a recurrent layer. A float16 tensor is judged by float16's own limit.
    """
    assert m.origin is not None and m.onset is not None
    top = m.upstream_top()
    if math.isnan(top):
        return m.at_first_step
    kind = m.probes[m.origin].kind
    if m.probes[m.origin].dtype == "float16":
        return True  # what is large for float16 is small for all else: judged there
    if m.at_first_step and top < at("domain_top"):
        return True
    # A layer that multiplies by a matrix cannot leave a domain, only overflow; that
    # its own activation function did is likely only among small numbers.
    multiplies = kind == "activation" and bool(m.matrices_of(m.origin))
    if multiplies and not m.at_first_step:
        small = top < at("matrix_top") and m.growth() < at("domain_growth")
        return small and not m.is_recurrent(m.origin)
    # Numbers of any scale may meet a domain error, as long as they have not just grown.
    grown = m.growth() >= at("domain_growth") and not m.at_first_step
    limit = at("domain_top") if kind == "gradient" else at("domain_top_large")
    return not grown and top < limit


def domain_candidates(m: Measured) -> list[Candidate]:
    """Returns the causes of a tensor that left its domain, chosen by the kind of tensor."""
    assert m.origin is not None
    kind = m.probes[m.origin].kind
    rules: dict[str, Callable[[Measured], list[Candidate]]] = {
        "activation": domain_of_layer,
        "prediction": domain_of_layer,
        "loss": domain_of_loss,
        "metric": domain_of_metric,
        "gradient": domain_of_gradient,
        "optimizer": domain_of_update,
        "weight": domain_of_update,
        "layer_state": domain_of_layer,
    }
    if kind == "metric" and _is_a_loss(m):
        kind = "loss"
    found = rules[kind](m)
    return [*overflowed_half(m), *found]


def _is_a_loss(m: Measured) -> bool:
    """Returns whether gradients went bad with a metric, as where a custom step logs its own loss.

    No gradient is computed from what only measures.
    """
    return m.onset is not None and bool((m.onset.bad[m.of("gradient")] > 0).any())
