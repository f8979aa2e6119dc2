"""The numbers grew until they no longer fitted: what drove them, in decades at step 0."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.measured import Measured, largest, smallest
from tb_nanwatch.rules import fixes
from tb_nanwatch.rules.amplification import through_layers, through_time
from tb_nanwatch.rules.candidate import Candidate
from tb_nanwatch.rules.first_step import entered, gains_of
from tb_nanwatch.rules.inherited import inherited_weights
from tb_nanwatch.rules.initialization import large_first_weights
from tb_nanwatch.rules.layer_leap import (
    growth_at_one_place,
    leap_at_the_onset,
    leap_without_weights,
)
from tb_nanwatch.rules.settings import settings_driver
from tb_nanwatch.rules.thresholds import NORMALISED, USUAL_RATES, at


def growth_candidates(m: Measured, growth: float) -> list[Candidate]:
    """Returns the drivers of a growth, each weighed by the decades it adds."""
    found = [
        rule(m)
        for rule in (
            settings_driver,
            _inputs_driver,
            _targets_driver,
            _gain_driver,
            leap_at_the_onset,
            _labels_driver,
            _rate_driver,
        )
    ]
    drivers = [c for c in found if c is not None]
    at_this_rate = _rate_at_this_scale(m)
    how = _how_it_grew(m, growth)
    for candidate in drivers:
        if at_this_rate and candidate.id in ("unscaled_inputs", "unscaled_targets"):
            candidate.evidence.append(at_this_rate)
            candidate.about = m.rate()
        candidate.evidence.append(how)
    came = inherited_weights(m)
    if came is None:
        return drivers
    # A training that began blown up was driven there by no setting of its own: these
    # can only have carried on what the earlier one died of.
    total = sum(c.weight for c in drivers) or 1.0
    came.weight = total * at("inherited_share") / (1 - at("inherited_share"))
    return [came, *drivers]


def _how_it_grew(m: Measured, growth: float) -> str:
    onset = m.facts.onset
    steps = onset.step if onset is not None else 0
    if math.isnan(growth):
        return "How it grew was not recorded."
    return (
        f"Loss, activations or weights had grown {growth:.3g}-fold over the first step "
        f"after {steps:,} {'step' if steps == 1 else 'steps'}."
    )


def _rate_driver(m: Measured) -> Candidate | None:
    """Returns the learning rate, weighed by its decades above the usual one.

    Signs:
        learning_rate: the numbers grew, and the learning rate (divided by 1 - momentum)
            is above what is usual for the optimizer: 0.01 for SGD, 0.001 for most
            others. Within {noticeable} decades of it, or below, it is named only where
            little else is unusual, and with less confidence. How large the first update
            was beside the weights is told; {update_ratio} of them is too much.
    """
    rate = m.rate()
    if math.isnan(rate) or rate <= 0:
        return None
    name = str(m.optimizer.get("class_name", ""))
    usual = USUAL_RATES.get(name, 1e-2)
    momentum = m.setting("momentum")
    effective = rate
    if 0 < momentum < at("momentum"):
        effective = rate / (1 - momentum)
    decades = math.log10(effective / usual)
    evidence = [
        f"The learning rate is {rate:.3g}"
        + (f" with momentum {momentum:.3g}" if 0 < momentum < 1 else "")
        + f"; {usual:.3g} is usual for this optimizer."
    ]
    ratio = _update_ratio(m)
    if not math.isnan(ratio):
        evidence.append(
            f"The first update of the weights, gradient times rate, was {_ratio_text(ratio)}."
        )
    # Even a usual rate is too high where nothing else is unusual.
    weight = max(decades, 0.3)
    seen = m.growth() >= at("domain_growth") or ratio >= at("update_ratio")
    sure = 0.97 if decades >= at("noticeable") else 0.7
    # A power of ten at least three times below the rate that went bad.
    lower = min(usual, 10.0 ** math.floor(math.log10(rate) - 0.5))
    return Candidate(
        "learning_rate",
        weight,
        sure if seen else 0.5,
        evidence,
        fixes.lower_rate(m, lower),
        rate,
    )


def _rate_at_this_scale(m: Measured) -> str | None:
    """Returns what the learning rate does with data of this scale, if that is much."""
    ratio = _update_ratio(m)
    if not ratio >= at("update_ratio"):
        return None
    return (
        f"With data of this scale the learning rate of {m.rate():.3g} is too high: the "
        f"first update of the weights was {_ratio_text(ratio)}."
    )


def _ratio_text(ratio: float) -> str:
    # Weights are recorded after the update: next to a large one they are that update.
    if ratio > _DROWNED:
        return "larger than the weights themselves (1e-3 of them is usual, 0.1 too much)"
    return f"up to {ratio:.3g} of their size (1e-3 is usual, 0.1 too much)"


# u / sqrt(w * w + u * u) of an update u that is twice the weights w.
_DROWNED: Final = 0.9


def _update_ratio(m: Measured) -> float:
    """Returns the largest rate * gradient / weight at the first step, of matrices."""
    if m.first is None or str(m.optimizer.get("class_name", "")) in NORMALISED:
        return math.nan
    gradients = {m.probes[i].name: i for i in m.of("gradient")}
    ratios = []
    for i in m.of("weight"):
        j = gradients.get(m.probes[i].name)
        if j is None or len(m.probes[i].shape) < 2 or not m.first.rms[i] > 0:
            continue
        ratios.append(m.rate() * m.first.rms[j] / m.first.rms[i])
    return largest(ratios) if ratios else math.nan


def _inputs_driver(m: Measured) -> Candidate | None:
    """Returns the scale of the inputs, where it is unusual and enters the model.

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


def _targets_driver(m: Measured) -> Candidate | None:
    """Returns the scale of the targets, where it is beyond what is first predicted.

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
            f"Targets of the first batch lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}, where "
            f"the first predictions of scaled inputs would have had {predicted:.3g}."
            if inputs >= at("input_rms")
            else f"Targets of the first batch lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}, "
            f"where the first predictions had {predicted:.3g}."
        ],
        "Scale the targets to mean 0 and deviation 1, and undo it on the predictions.",
    )


def _gain_driver(m: Measured) -> Candidate | None:
    """Returns what made the numbers grow from layer to layer before anything was learned."""
    if m.phase == "validation" or m.facts.inherited is not None:
        return None  # these weights are no longer the initial ones
    gains = gains_of(m)
    if max(gains.forward, gains.backward) < at("depth_growth"):
        return None
    # The first that applies: each looks at what the ones before leave.
    return (
        leap_without_weights(m, gains)
        or through_time(gains)
        or large_first_weights(gains)
        or growth_at_one_place(gains)
        or through_layers(gains)
    )


def _labels_driver(m: Measured) -> Candidate | None:
    """A loss that falls below zero without bound: no label allowed for that.

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
