# SPDX-License-Identifier: Apache-2.0
"""A derivative that left its domain, in the loss, in a layer or through time."""

from __future__ import annotations

from dataclasses import replace

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.amplification import amplification
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.domain_layer import layer_candidate
from tb_nanwatch.diagnosis.rules.told import upstream_text
from tb_nanwatch.wording.counts import counted


def domain_of_gradient(m: Measured) -> list[Candidate]:
    """Returns the causes of a non-finite gradient that was computed from ordinary numbers.

    Signs:
        loss_domain: the loss was finite, and the gradient nearest to it was not: the
            derivative left its domain, as that of a root does at zero. Where running the
            step again has shown whose derivative it is, that decides: of an operation of
            the loss or the step, and not of the model.
        layer_domain: gradients nearer to the loss were finite, and one further on was
            not: the derivative of a layer between the two left its domain. Or running the
            step again has shown that the derivative is that of an operation in a call of
            the model or of a layer, wherever its gradient arrived first.
        gradient_amplification: gradients nearer to the loss were finite, and the first
            that was not is that of a recurrent layer.
    """
    assert m.origin is not None and m.onset is not None
    gradients = [i for i in m.of("gradient") if i < m.origin]
    passed = [i for i in gradients if m.onset.bad[i] == 0]
    evidence = [
        upstream_text(m),
        "The loss itself was finite: only its derivative was not.",
    ]
    loss = Candidate(
        "loss_domain",
        3.0,
        0.93,
        evidence,
        fixes.of(
            m,
            "The loss's derivative is not finite where its argument is zero (a root, norm "
            "or power): keep that above zero, e.g. "
            "keras.ops.sqrt(keras.ops.maximum(x, 1e-12)).",
        ),
    )
    layer = layer_candidate(m, 3.0, 0.95)
    layer.evidence = evidence
    layer.fix = fixes.of(
        m,
        "The derivative of a layer's function is not finite at some of its inputs (a "
        "root, norm or power at zero): keep what is inside above zero, e.g. "
        "keras.ops.sqrt(keras.ops.maximum(x, 1e-12)).",
    )
    inside = _in_model(m)
    if not inside and (inside is False or not passed):
        if inside is False:
            evidence.append("It is that of an operation in the loss, not in the model.")
        layer.weight = 0.6
        return [loss, layer]
    if passed:
        evidence.append(
            f"{counted(len(passed), 'gradient')} nearer to the loss "
            f"{'was' if len(passed) == 1 else 'were'} finite, so it began between "
            "two layers."
        )
    if inside:
        evidence.append("It is that of an operation in the model, not in the loss.")
    if passed and m.is_recurrent(m.origin):
        through_time = amplification(
            m,
            1e3,
            "It belongs to a recurrent layer, whose gradient is multiplied by the same "
            "matrix at every step of the sequence.",
        )
        through_time.evidence = [*evidence, *through_time.evidence]
        layer.weight = 1.0
        return [through_time, layer]
    return [layer] if inside else [layer, replace(loss, weight=0.3)]


def _in_model(m: Measured) -> bool | None:
    """Returns whether the derivative belongs to an operation inside the model's `call`.

    None where that was not seen, or is not to be parted: a loss that a layer calls.
    """
    found = m.facts.postmortem
    if found is None or not found.gradient or (found.in_model and found.owner):
        return None
    return found.in_model
