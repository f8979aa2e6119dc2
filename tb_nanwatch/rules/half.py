"""An operation of float16 that leaves its domain there, and does not in float32."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.rules.candidate import Candidate
from tb_nanwatch.schema import PostMortem


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
        # What has grown past float16 grows on in float32, beyond this one step.
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
