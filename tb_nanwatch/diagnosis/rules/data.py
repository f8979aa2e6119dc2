# SPDX-License-Identifier: Apache-2.0
"""Data that came in non-finite."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.record.schema import BadTensor
from tb_nanwatch.wording.counts import counted


def bad_data(m: Measured, kind: str) -> Candidate:
    """Returns the cause of a run whose batch itself was non-finite, of this kind.

    Signs:
        nonfinite_data: the first bad tensor is the batch itself: its inputs, labels or
            sample weights held NaN or infinity before anything was computed from them.
            The row in the batch is named, and the example of the data set where it can
            be told.
    """
    tensor = m.bad_tensor
    evidence = []
    if tensor is not None:
        bad = tensor.num_nan + tensor.num_pos_inf + tensor.num_neg_inf
        row = (
            f", first in row {tensor.row} of the batch" if tensor.row is not None else ""
        )
        evidence.append(
            f"The batch itself held {bad:,} non-finite of "
            f"{counted(tensor.size, f'{_KIND[kind]} value')}{row}; nothing had been computed from it yet."
        )
        evidence += _place_in_data(m, tensor)
    return Candidate(
        "nonfinite_data",
        1.0,
        0.99,
        evidence,
        f"Find the non-finite {_KIND[kind]} values before training (np.isfinite), and "
        "drop or fill these rows.",
    )


def _place_in_data(m: Measured, tensor: BadTensor) -> list[str]:
    """Returns a sentence on which example a bad row is, where that is known."""
    if m.origin is None:
        return []
    values_a_row = math.prod(d or 0 for d in m.probes[m.origin].shape[1:])
    if tensor.row is None or not m.probes[m.origin].shape or not values_a_row:
        return []
    text = example_text(m, tensor.row, tensor.size // values_a_row)
    return [text] if text else []


def example_text(m: Measured, row: int, rows: int, ago: int = 0) -> str:
    """Returns in a sentence which example of the data a row of a batch is.

    Where the row was found in the arrays that `fit` was given, its content tells. Else the
    sentence says what it takes for granted, whole batches in order, since Keras tells a
    callback neither the batch size nor whether it shuffles. A replica's row is one of its
    share alone: then nothing is said.

    Args:
        row: of the bad batch.
        rows: in that batch.
        ago: how many steps before the onset that batch came.
    """
    onset, session = m.facts.onset, m.facts.session
    known = m.facts.postmortem.examples if m.facts.postmortem is not None else []
    for found in known if not ago else ():
        if found.row == row:
            return (
                f"That is example {found.example:,} of the data that fit was given, counted "
                "from 0: no other holds the same values."
            )
    if onset is None or session is None or session.replicas > 1 or onset.batch < ago:
        return ""
    example = (onset.batch - ago) * rows + row
    whose = (
        f"epoch {onset.epoch + 1}" if onset.phase == "train" else "the validation data"
    )
    return (
        f"That is example {example:,} of {whose}, counted from 0 in the order in which "
        f"they came, if each batch before had {rows:,} of them; without shuffling it is "
        "the row of the data set."
    )


_KIND: Final = {"input": "input", "label": "label", "sample_weight": "sample weight"}
