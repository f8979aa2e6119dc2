# SPDX-License-Identifier: Apache-2.0
"""An operation that leaves its domain in float16 and not in float32."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.diagnosis.rules.told import counts_text
from tb_nanwatch.record.schema import PostMortem


def in_half_precision(
    found: PostMortem | None, candidates: Sequence[Candidate], fix: str
) -> list[Candidate]:
    """Returns the causes with half precision before those of the operation.

    Args:
        found: the post-mortem of a run that stays finite in float32, or whose failing step
            does.
        candidates: what the rules propose.
        fix: how this training leaves float16.

    Signs:
        half_precision: the first bad operation computes in float16, and run again with
            float32 in the place of float16 the training stayed finite, however small the
            numbers were (1 - 1e-7 is 1 in float16, and -1e9 is -Inf). Where the training
            was not run again so, it is enough that the failing step alone stayed finite,
            if its numbers were of ordinary size. It need not learn in float32, but its
            loss must not grow {domain_growth}-fold there.
    """
    known = any(c.id == "half_precision" for c in candidates)
    if known or found is None or found.dtype != "float16":
        return list(candidates)
    domains = [c for c in candidates if c.id.endswith("_domain")]
    learnt = any(e.change == "float32" and e.succeeded for e in found.experiments)
    if not learnt and not domains:
        # Numbers that outgrew float16 go on growing in float32, beyond this one step.
        return list(candidates)
    return [
        Candidate(
            "half_precision",
            2 * max([1.0, *(c.weight for c in domains)]),
            0.96,
            [f"The first bad operation, `{found.op}`, computes in float16."],
            f"{fix} A small number that float16 can tell from 0 and from 1 is 1e-3, and its "
            "largest 65504.",
        ),
        *candidates,
    ]


def overflowed_half(m: Measured) -> list[Candidate]:
    """Returns the cause of a float16 tensor that could have overflowed.

    Signs:
        half_precision: the first bad tensor is float16, and what it was computed from
            reached {half_top}; or it holds infinities, and its layer multiplies by a
            matrix, or, with no NaN in it, some float16 tensor had reached {half_share}
            of the largest float16, 65504.
    """
    assert m.origin is not None
    tensor, top = m.bad_tensor, m.upstream_top()
    if m.probes[m.origin].dtype != "float16" or tensor is None:
        return []
    overflowed = tensor.num_pos_inf + tensor.num_neg_inf > 0
    share = m.facts.closest.get("float16", 0.0)
    # Sums of products leave no domain: with a matrix of its own it can only overflow.
    # What else gives an infinity and no NaN, beside values near the limit, has grown
    # past it (an exponential); a division by zero stands alone among ordinary ones.
    past = bool(m.matrices_of(m.origin)) or (
        not tensor.num_nan and share >= at("half_share")
    )
    if not top >= at("half_top") and not (past and overflowed):
        return []
    return [
        Candidate(
            "half_precision",
            6.0 if overflowed or share >= at("half_share") else 2.0,
            0.96,
            [
                f"The tensor is float16, which ends at 65504; what it was computed from "
                f"reached {top:.3g}, and the largest finite number of a float16 tensor "
                f"was {share * 65504:.3g}.",
                counts_text(m),
                "The same values fit in float32 with room to spare.",
            ],
            fixes.out_of_float16(m),
        )
    ]
