# SPDX-License-Identifier: Apache-2.0
"""Sentences about the tensors from which the first bad tensor was computed."""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.wording.counts import counted


def upstream_text(m: Measured) -> str:
    """Returns a sentence on the size of the tensors from which the first bad one was computed."""
    top = m.upstream_top()
    if math.isnan(top):
        return "Nothing before it in the step was measured."
    return f"Everything it was computed from was finite, at most {top:.3g} in size."


def counts_text(m: Measured) -> str:
    """Returns a sentence with the counts of the first bad tensor, "" where none is known."""
    t = m.bad_tensor
    if t is None:
        return ""
    parts = []
    if t.num_nan:
        parts.append(f"{t.num_nan:,} NaN")
    if t.num_pos_inf:
        parts.append(f"{t.num_pos_inf:,} Inf")
    if t.num_neg_inf:
        parts.append(f"{t.num_neg_inf:,} -Inf")
    return f"{' and '.join(parts)} of {counted(t.size, 'value')} came out of it."
