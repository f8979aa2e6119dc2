# SPDX-License-Identifier: Apache-2.0
"""Finds the differences between two runs, in the order in which they can matter; pure.

Values that were chosen come first (hyperparameters, optimizer, loss, model), then what
was measured of the data, of the precision, and of the activations before anything was
learned, and last the first step at which the two part.

Tensors are paired by kind and place in causal order, never by name: two models built
one after the other give the same layer two names.
"""

from __future__ import annotations

from tb_nanwatch.reading.comparison.differences.chosen import (
    hparams,
    model,
    optimizer,
    precision,
    setup,
)
from tb_nanwatch.reading.comparison.differences.data import data_ranges
from tb_nanwatch.reading.comparison.differences.found import (
    TOLERANCE,
    TOPICS,
    ComparedRun,
    Differences,
)
from tb_nanwatch.reading.comparison.differences.outcome import (
    blamed_by,
    marked,
    verdict,
    without_repeats,
)
from tb_nanwatch.reading.comparison.differences.tensors import (
    initial,
    pairs_of,
    parting_of,
)
from tb_nanwatch.reading.comparison.differences.values import compared
from tb_nanwatch.wording.comparison_text import NO_RANGES

__all__ = [
    "TOLERANCE",
    "TOPICS",
    "ComparedRun",
    "Difference",
    "Differences",
    "Parting",
    "PartingTensor",
    "differences_of",
]


def differences_of(first: ComparedRun, second: ComparedRun) -> Differences:
    """Returns the differences between two runs."""
    blamed = blamed_by(first, second)
    found = [hparams(first, second), []]
    notes = []
    topics = ["hparam"]
    if first.session is not None and second.session is not None:
        a, b = first.session, second.session
        found += [
            optimizer(a, b),
            compared("loss", {"loss": a.loss}, {"loss": b.loss}),
            model(a, b),
            data_ranges(first, second),
            precision(a, b),
            compared("setup", setup(a), setup(b)),
        ]
        topics += ["optimizer", "loss", "model", "data", "precision", "setup"]
    parting = None
    pairs = pairs_of(first, second)
    if pairs is None:
        notes.append(NO_RANGES)
    else:
        found.append(initial(pairs))
        topics.append("initial")
        parting = parting_of(pairs)
    differences = without_repeats([d for some in found for d in some])
    differences = [marked(d, blamed) for d in differences]
    different = {d.topic for d in differences}
    return Differences(
        differences,
        parting,
        [t for t in topics if t not in different],
        notes,
        verdict(first, second, differences, parting, pairs is not None),
    )
