# SPDX-License-Identifier: Apache-2.0
"""A tensor left its domain: what it was computed from was finite and of ordinary size."""

from __future__ import annotations

import math
from collections.abc import Callable

from tb_nanwatch.diagnosis.measured import Measured, largest, smallest
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.domain_gradient import domain_of_gradient
from tb_nanwatch.diagnosis.rules.domain_layer import domain_of_layer
from tb_nanwatch.diagnosis.rules.half import overflowed_half
from tb_nanwatch.diagnosis.rules.labels import unknown_classes
from tb_nanwatch.diagnosis.rules.settings import odd_settings, settings_fix
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.diagnosis.rules.told import counts_text, upstream_text


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
        return True  # float16 has its own limit, which `half` applies
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
        "loss": _domain_of_loss,
        "metric": _domain_of_metric,
        "gradient": domain_of_gradient,
        "optimizer": _domain_of_update,
        "weight": _domain_of_update,
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


def _domain_of_loss(m: Measured) -> list[Candidate]:
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


def _domain_of_metric(m: Measured) -> list[Candidate]:
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


def _domain_of_update(m: Measured) -> list[Candidate]:
    """Returns the cause of an update that was not finite although its gradients were.

    Signs:
        optimizer_settings: the first bad tensor is a weight or one of the optimizer's
            variables; all gradients of that step were finite and of ordinary size.
    """
    gradients = m.of("gradient")
    assert m.onset is not None
    evidence = [
        f"All gradients of that step were finite, at most "
        f"{largest(m.onset.top[gradients]):.3g}; the update made of them was not."
    ]
    odd = odd_settings(m)
    evidence += [setting.text for setting in odd]
    zeros = largest(m.onset.zeros[gradients])
    if zeros > 0:
        evidence.append(f"Up to {zeros:.0%} of a gradient's elements were exactly zero.")
    return [
        Candidate(
            "optimizer_settings",
            1.0,
            0.97 if odd else 0.85,
            evidence,
            settings_fix(m),
        )
    ]
