# SPDX-License-Identifier: Apache-2.0
"""Most steps were skipped, since their gradients were not finite at any loss scale."""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.domain import domain_candidates
from tb_nanwatch.diagnosis.rules.growth import growth_candidates
from tb_nanwatch.diagnosis.rules.thresholds import at


def stall_candidates(m: Measured) -> list[Candidate]:
    """Returns the causes of a stall that a gradient began.

    How large the gradients were says nothing: a smaller scale makes each smaller, and they
    are not finite all the same. Only what no scale touches can have grown for it.
    """
    outputs = m.growth_of("activation", "prediction"), m.growth_of("loss")
    growth = largest(outputs)
    if growth >= at("domain_growth") and not m.at_first_step:
        return growth_candidates(m, growth)
    return [*_made_in_half(m), *domain_candidates(m)]


def _made_in_half(m: Measured) -> list[Candidate]:
    """Returns the cause of gradients that an operation in float16 overflowed in.

    Signs:
        half_precision: the run stalled, a gradient is the first bad tensor, and running the
            step again has shown an operation whose result is float16 and holds infinities,
            while all that it was computed from was finite and nothing was divided by zero.
    """
    found = m.facts.postmortem
    if found is None or found.dtype != "float16" or found.op_type is None:
        return []
    overflowed = found.num_pos_inf + found.num_neg_inf
    whole = all(not (x.num_nan or x.num_pos_inf or x.num_neg_inf) for x in found.inputs)
    by_zero = any(x.name == "denominator" and x.num_zero for x in found.inputs)
    if not overflowed or not whole or by_zero:
        return []
    what = f"the gradient of `{found.op}`" if found.gradient else f"`{found.op}`"
    return [
        Candidate(
            "half_precision",
            9.0,
            0.96,
            [
                f"{overflowed:,} of {found.size:,} values that {what} gave are beyond 65504, "
                "the largest float16; what they were computed from was finite.",
                "The same values fit in float32 with room to spare.",
            ],
            'Compute this in float32: give the layer before it dtype="float32" (the last '
            "activation, where it is the loss), or take bfloat16 "
            '(keras.mixed_precision.set_global_policy("mixed_bfloat16")).',
        )
    ]
