# SPDX-License-Identifier: Apache-2.0
"""Data of an unusual scale: inputs, targets beside the first predictions, or both together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tb_nanwatch.diagnosis.measured import Measured, largest, smallest
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.first_step import entered
from tb_nanwatch.diagnosis.rules.thresholds import at

# The confidence in a cause that is proposed only where an experiment showed it.
_SHOWN = 0.98
_PARTS = ("unscaled_inputs", "unscaled_targets")


def unscaled_inputs(m: Measured) -> Candidate | None:
    """Returns the cause "unscaled inputs", where their scale is unusual and enters the model.

    Signs:
        unscaled_inputs: the numbers grew, the inputs of the first batch have a root mean
            square of {input_rms} or more, and the first layer with a matrix passes at
            least {input_entered} of it on (hardly any where a layer before it
            normalises, or where inputs are indices). What the learning rate does at
            this scale is told.
    """
    assert m.first is not None
    floats = [i for i in m.of("input") if m.is_float(i)]
    rms = largest(m.first.rms[floats])
    if not rms >= at("input_rms") or entered(m, rms) < at("input_entered"):
        return None
    low, high = smallest(m.first.low[floats]), largest(m.first.high[floats])
    return Candidate(
        "unscaled_inputs",
        # Activations and gradients both carry the scale.
        2 * math.log10(rms),
        0.97,
        [
            f"Inputs of the first batch lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}; layers "
            "are made for values about 1."
        ],
        "Scale the inputs to mean 0 and deviation 1, e.g. with a "
        "keras.layers.Normalization() layer adapted to the training data.",
    )


def unscaled_targets(m: Measured) -> Candidate | None:
    """Returns the cause "unscaled targets", where they are far larger than the first predictions.

    Signs:
        unscaled_targets: the numbers grew, and the root mean square of the first batch's
            targets is {target_ratio} or more, and as many times that of the first
            predictions (for inputs of usual scale).
    """
    assert m.first is not None
    labels = [i for i in m.of("label") if m.is_float(i)]
    rms = largest(m.first.rms[labels])
    if not rms >= at("target_ratio"):
        return None
    predicted = largest(m.first.rms[m.of("prediction")])
    # Predictions carry the scale of the inputs, whose own fault that is.
    inputs = largest(m.first.rms[m.of("input")])
    inputs = inputs if entered(m, inputs) >= at("input_entered") else 1.0
    if inputs >= at("input_rms"):
        predicted /= inputs
    scale = rms / max(1.0, predicted) if not math.isnan(predicted) else rms
    if scale < at("target_ratio"):
        return None
    low, high = smallest(m.first.low[labels]), largest(m.first.high[labels])
    return Candidate(
        "unscaled_targets",
        math.log10(scale) * 1.2,
        0.97,
        [
            f"Targets of the first batch lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}; the "
            f"untrained model's predictions of scaled inputs would have {predicted:.3g}."
            if inputs >= at("input_rms")
            else f"Targets of the first batch lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}; "
            f"the untrained model's predictions have {predicted:.3g}."
        ],
        "Scale the targets to mean 0 and deviation 1, and undo it on the predictions.",
    )


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
    parts = [c for c in found if c.id in _PARTS]
    both = Candidate(
        "unscaled_data",
        max([1.0, *(c.weight for c in parts)]),
        _SHOWN,
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
