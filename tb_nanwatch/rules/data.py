"""Data that came in non-finite."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.measured import Measured
from tb_nanwatch.rules.candidate import Candidate


def bad_data(m: Measured, kind: str) -> Candidate:
    """Returns the cause of a run whose batch itself was non-finite, of this kind."""
    tensor = m.bad_tensor
    evidence = []
    if tensor is not None:
        bad = tensor.num_nan + tensor.num_pos_inf + tensor.num_neg_inf
        row = (
            f", first in row {tensor.row} of the batch" if tensor.row is not None else ""
        )
        evidence.append(
            f"The batch itself held {bad:,} non-finite of {tensor.size:,} {_KIND[kind]} "
            f"values{row}; nothing had been computed from it yet."
        )
    return Candidate(
        "nonfinite_data",
        1.0,
        0.99,
        evidence,
        f"Find the non-finite {_KIND[kind]} values before training (np.isfinite), and "
        "drop or fill these rows.",
    )


_KIND: Final = {"input": "input", "label": "label", "sample_weight": "sample weight"}
