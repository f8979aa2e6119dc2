# SPDX-License-Identifier: Apache-2.0
"""Labels outside the range that the loss or the model accepts."""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured, largest, smallest
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.diagnosis.rules.told import counts_text, upstream_text


def labels_out_of_range(m: Measured) -> Candidate | None:
    """Returns the cause of a loss that falls without bound below 0, impossible with valid labels.

    Signs:
        label_range: the numbers grew, the loss had fallen below {label_loss}, and labels
            lie outside of the interval that the loss is made for: 0 to 1 of Keras' own
            binary and categorical cross-entropies. Other losses (likelihoods, those of
            the user's own) may be negative by nature.
    """
    session = m.facts.session
    if session is None or len(session.label_interval) != 2:
        return None
    least, most = session.label_interval
    losses = m.of("loss")
    lowest = smallest(m.lowest[losses])
    if not lowest < at("label_loss"):
        return None
    labels = m.of("label")
    low, high = smallest(m.lowest[labels]), largest(m.highest[labels])
    if not (low < least or high > most):
        return None
    return Candidate(
        "label_range",
        12.0,
        0.97,
        [
            f"The loss fell to {lowest:.3g}, below zero and without bound; labels lie in "
            f"[{low:.3g}, {high:.3g}], outside of [{least:g}, {most:g}]."
        ],
        "Bring the labels into the range that the loss is made for (0 and 1 for a binary "
        "cross-entropy), or take a loss made for these labels.",
    )


def unknown_classes(m: Measured) -> list[Candidate]:
    """Returns the cause of labels that name a class which the model does not have."""
    assert m.onset is not None
    labels, predictions = m.of("label"), m.of("prediction")
    if len(labels) != len(predictions):
        return []
    for label, prediction in zip(labels, predictions, strict=True):
        outputs = m.probes[prediction].shape
        classes = outputs[-1] if outputs else None
        # One number for each row of outputs, with or without an axis of its own.
        of_rows = m.probes[label].shape in (outputs[:-1], [*outputs[:-1], 1])
        if m.is_float(label) or not of_rows or classes is None or classes < 2:
            continue
        low, high = float(m.onset.low[label]), float(m.onset.high[label])
        if not m.at_first_step and m.first is not None:
            # Such a label did no harm before: it is a class that the loss ignores.
            if m.first.low[label] < 0:
                low = 0
            if m.first.high[label] >= classes:
                high = 0
        if low < 0 or high >= classes:
            return [
                Candidate(
                    "label_range",
                    20.0,
                    0.97,
                    [
                        upstream_text(m),
                        f"Labels of the batch are integers from {low:.0f} to {high:.0f}, each "
                        f"beside {classes} outputs: classes are 0 to "
                        f"{classes - 1}.",
                        counts_text(m),
                    ],
                    f"Bring the labels into 0 to {classes - 1}, or give the last layer "
                    "one unit for each class"
                    + (f" ({high + 1:.0f} or more)." if high >= classes else "."),
                )
            ]
    return []
