# SPDX-License-Identifier: Apache-2.0
"""A layer's function that left its domain, or weights that were bad before it."""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.inherited import INHERITED_FIX, whose_weights
from tb_nanwatch.diagnosis.rules.told import counts_text, upstream_text
from tb_nanwatch.wording.counts import counted


def domain_of_layer(m: Measured) -> list[Candidate]:
    """Returns the causes of a non-finite layer output or state computed from ordinary numbers.

    Signs:
        layer_domain: the first bad tensor is a layer's output, its state or the
            prediction, and what it was computed from was finite and of ordinary size.
        inherited: in the very first step of a training a layer's output is the first bad
            tensor, of numbers of ordinary size, and running the step again has shown
            that a variable was non-finite before it; or the layer's weights are known to
            come from a training that had gone bad, and nothing shows that they were
            finite.
    """
    assert m.origin is not None and m.bad_tensor is not None
    tensor = m.bad_tensor
    own = m.matrices_of(m.origin)
    bad = tensor.num_nan + tensor.num_pos_inf + tensor.num_neg_inf
    found = m.facts.postmortem
    # Of the weights nothing is said but what was measured: the step was run again from the
    # state before it, and either a variable held the fault or an operation made it.
    held = found.held if found is not None else ""
    made = found is not None and found.op_type is not None
    known = bool(m.weights_of(m.origin)) and bool(whose_weights(m)) and not made
    if m.at_first_step and (known or held):
        evidence = [
            whose_weights(m),
            upstream_text(m),
            f"{bad:,} of {counted(tensor.size, 'value')} "
            f"{'was' if bad == 1 else 'were'} non-finite in the first step of this "
            "training.",
            f"{held} was non-finite before the step already." if held else "",
        ]
        return [
            Candidate(
                "inherited",
                20.0,
                0.97,
                evidence,
                INHERITED_FIX if known else fixes.of_weights(held),
            ),
            layer_candidate(m, 1.0),
        ]
    if own and not (made and m.at_first_step):
        return [layer_candidate(m, 1.0, 0.5)]
    return [layer_candidate(m, 1.0)]


def layer_candidate(m: Measured, weight: float, sure: float = 0.97) -> Candidate:
    """Returns the cause of a layer's function that left its domain."""
    return Candidate(
        "layer_domain",
        weight,
        sure,
        [upstream_text(m), counts_text(m)],
        fixes.of(
            m,
            "This layer's function left its domain: keep the arguments of its logarithms "
            "and roots above 0, and its denominators away from 0.",
        ),
    )
