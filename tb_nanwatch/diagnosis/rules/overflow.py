# SPDX-License-Identifier: Apache-2.0
"""An operation that overflows by the scale of the inputs, as experiments have shown."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.unscaled import unscaled_inputs


def overflowed_by_inputs(m: Measured, found: Sequence[Candidate]) -> list[Candidate]:
    """Returns the causes with "unscaled inputs" ahead of the operation that overflowed.

    A bound on the operation's argument keeps it finite where all arguments are beyond it,
    and takes the derivative of all of them.

    Args:
        m: of a run that trains with its inputs scaled.
        found: what the rules propose.

    Signs:
        unscaled_inputs: the result of the first bad operation is beyond what its dtype
            holds (an exponential, a power), the inputs of the first batch have a root mean
            square of {input_rms} or more, and run again with the inputs scaled the training
            stayed finite and its loss fell.
    """
    after = m.facts.postmortem
    domains = [c for c in found if c.id.endswith("_domain")]
    if after is None or "is beyond" not in after.finding or not domains:
        return list(found)
    learnt = any(
        e.change == "inputs" and e.finite and e.learns for e in after.experiments
    )
    scale = unscaled_inputs(m) if m.first is not None else None
    if scale is None or not learnt or any(c.id == scale.id for c in found):
        return list(found)
    return [scale, *found]
