# SPDX-License-Identifier: Apache-2.0
"""Inputs and labels that have to be scaled together: each alone does not train."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.diagnosis.rules.candidate import Candidate

# It is proposed only where an experiment showed it.
SURE = 0.98
PARTS = ("unscaled_inputs", "unscaled_targets")


def unscaled_data(found: Sequence[Candidate]) -> list[Candidate]:
    """Returns the causes with one for inputs and labels together in place of one for each.

    Args:
        found: what the rules propose, of a run that trains with both scaled and does not
            with one of them.

    Signs:
        unscaled_data: experiments ran the training again with the inputs scaled, with the
            labels scaled, and with both: it stayed finite, and its loss fell, only with
            both.
    """
    parts = [c for c in found if c.id in PARTS]
    both = Candidate(
        "unscaled_data",
        max([1.0, *(c.weight for c in parts)]),
        SURE,
        [
            "With the inputs scaled alone, or the labels alone, it does not train.",
            # Both say what the learning rate does at this scale.
            *dict.fromkeys(text for c in parts for text in c.evidence),
        ],
        "Scale both: the inputs to mean 0 and deviation 1, e.g. with a "
        "keras.layers.Normalization() layer adapted to the training data, and the labels, "
        "e.g. divided by their largest size.",
    )
    return [both, *(c for c in found if c not in parts)]
