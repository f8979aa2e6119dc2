"""A tensor left its domain: what it was computed from was finite and of ordinary size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from tb_nanwatch.measured import Measured, largest, smallest
from tb_nanwatch.rules import fixes
from tb_nanwatch.rules.amplification import amplification
from tb_nanwatch.rules.candidate import Candidate
from tb_nanwatch.rules.inherited import INHERITED_FIX, whose_weights
from tb_nanwatch.rules.settings import odd_settings, settings_fix
from tb_nanwatch.rules.thresholds import at


def left_domain(m: Measured) -> bool:
    """Returns whether the origin was computed from finite numbers of ordinary size.

    That is: all before it in the step was below {domain_top_large} ({domain_top} for a
    gradient) in size, and after the first step nothing had grown {domain_growth}-fold
    over it. A layer that multiplies by a matrix cannot leave a domain but by its own
    activation function: after the first step only numbers below {matrix_top} count for
    it, and none in a recurrent layer. A float16 tensor is judged by float16's own limit.
    """
    assert m.origin is not None and m.onset is not None
    top = m.upstream_top()
    if math.isnan(top):
        return m.at_first_step
    kind = m.probes[m.origin].kind
    if m.probes[m.origin].dtype == "float16":
        return True  # what is large for float16 is small for all else: judged there
    if m.at_first_step and top < at("domain_top"):
        return True
    # A layer that multiplies by a matrix cannot leave a domain, only overflow; that
    # its own activation function did is likely only among small numbers.
    multiplies = kind == "activation" and bool(m.matrices_of(m.origin))
    if multiplies and not m.at_first_step:
        small = top < at("matrix_top") and m.growth() < at("domain_growth")
        return small and not m.is_recurrent(m.origin)
    # Numbers of any scale may meet a domain error, as long as they have not just grown.
    grown = m.growth() >= at("domain_growth") and not m.at_first_step
    limit = at("domain_top") if kind == "gradient" else at("domain_top_large")
    return not grown and top < limit


def domain_candidates(m: Measured) -> list[Candidate]:
    """Returns the causes of a tensor that left its domain, by what kind it is of."""
    assert m.origin is not None
    kind = m.probes[m.origin].kind
    rules: dict[str, Callable[[Measured], list[Candidate]]] = {
        "activation": _domain_of_layer,
        "prediction": _domain_of_layer,
        "loss": _domain_of_loss,
        "metric": _domain_of_metric,
        "gradient": _domain_of_gradient,
        "optimizer": _domain_of_update,
        "weight": _domain_of_update,
        "layer_state": _domain_of_layer,
    }
    if kind == "metric" and _is_a_loss(m):
        kind = "loss"
    found = rules[kind](m)
    return [*_half(m), *found]


def _is_a_loss(m: Measured) -> bool:
    """Returns whether gradients went bad with a metric: a loss that a step of its own tells.

    No gradient is computed from what only measures.
    """
    return m.onset is not None and bool((m.onset.bad[m.of("gradient")] > 0).any())


def _upstream_text(m: Measured) -> str:
    top = m.upstream_top()
    if math.isnan(top):
        return "Nothing before it in the step was measured."
    return f"Everything it was computed from was finite, at most {top:.3g} in size."


def _counts_text(m: Measured) -> str:
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
    return f"{' and '.join(parts)} of {t.size:,} values came out of it."


def _half(m: Measured) -> list[Candidate]:
    """Returns the cause of a float16 tensor that could have overflowed.

    Signs:
        half_precision: the first bad tensor is float16, and what it was computed from
            reached {half_top}; or it holds infinities, and its layer multiplies by a
            matrix, or, with no NaN in it, some float16 tensor had reached {half_share}
            of the largest float16, 65504.
    """
    assert m.origin is not None
    tensor, top = m.bad_tensor, m.upstream_top()
    if m.probes[m.origin].dtype != "float16" or tensor is None:
        return []
    overflowed = tensor.num_pos_inf + tensor.num_neg_inf > 0
    share = m.facts.closest.get("float16", 0.0)
    # Sums of products leave no domain: with a matrix of its own it can only overflow.
    # What else gives an infinity and no NaN, beside values near the limit, has grown
    # past it (an exponential); a division by zero stands alone among ordinary ones.
    past = bool(m.matrices_of(m.origin)) or (
        not tensor.num_nan and share >= at("half_share")
    )
    if not top >= at("half_top") and not (past and overflowed):
        return []
    return [
        Candidate(
            "half_precision",
            6.0 if overflowed or share >= at("half_share") else 2.0,
            0.96,
            [
                f"The tensor is float16, which ends at 65504; what it was computed from "
                f"reached {top:.3g}, and the largest finite number of a float16 tensor "
                f"was {share * 65504:.3g}.",
                _counts_text(m),
                "The same values fit in float32 with room to spare.",
            ],
            fixes.out_of_float16(m),
        )
    ]


def _domain_of_layer(m: Measured) -> list[Candidate]:
    """Returns the causes of a layer's output, or state, of ordinary numbers.

    Signs:
        layer_domain: the first bad tensor is a layer's output, its state or the
            prediction, and what it was computed from was finite and of ordinary size.
        inherited: in the very first step of a training a layer's output is the first bad
            tensor, of numbers of ordinary size, and running the step again has shown
            that a variable was non-finite before it; or the layer's weights are known to
            come from a training that had gone bad, and nothing shows that they were
            finite.
    """
    assert m.origin is not None and m.bad_tensor is not None
    tensor = m.bad_tensor
    own = m.matrices_of(m.origin)
    bad = tensor.num_nan + tensor.num_pos_inf + tensor.num_neg_inf
    found = m.facts.postmortem
    # Of the weights nothing is said but what was measured: the step was run again from the
    # state before it, and either a variable held the fault or an operation made it.
    held = found.held if found is not None else ""
    made = found is not None and found.op_type is not None
    known = bool(m.weights_of(m.origin)) and bool(whose_weights(m)) and not made
    if m.at_first_step and (known or held):
        evidence = [
            whose_weights(m),
            _upstream_text(m),
            f"{bad:,} of {tensor.size:,} values were non-finite in the first step of this "
            "training.",
            f"{held} was non-finite before the step already." if held else "",
        ]
        return [
            Candidate(
                "inherited",
                20.0,
                0.97,
                evidence,
                INHERITED_FIX if known else fixes.of_weights(held),
            ),
            _layer_candidate(m, 1.0),
        ]
    if own and not (made and m.at_first_step):
        return [_layer_candidate(m, 1.0, 0.5)]
    return [_layer_candidate(m, 1.0)]


def _layer_candidate(m: Measured, weight: float, sure: float = 0.97) -> Candidate:
    return Candidate(
        "layer_domain",
        weight,
        sure,
        [_upstream_text(m), _counts_text(m)],
        fixes.of(
            m,
            "This layer's function left its domain: keep the arguments of its logarithms "
            "and roots above 0, and its denominators away from 0.",
        ),
    )


def _domain_of_loss(m: Measured) -> list[Candidate]:
    """Returns the causes of a loss of ordinary numbers.

    Signs:
        label_range: the first bad tensor is a loss, and labels that are integers, one for
            a row of several outputs, name a class below 0 or beyond the last. XLA and a
            GPU give NaN then, where TensorFlow's CPU operation raises an error.
        loss_domain: the first bad tensor is a loss, and predictions, labels and all else
            that it was computed from were finite and of ordinary size. The share of
            labels that are zero, and the ranges of labels and predictions, are told.
    """
    assert m.onset is not None
    evidence = [_upstream_text(m), _counts_text(m)]
    labels, predictions = m.of("label"), m.of("prediction")
    zeros = largest(m.onset.zeros[labels])
    if zeros > 0:
        evidence.append(f"{zeros:.1%} of this batch's labels were exactly zero.")
    low, high = smallest(m.onset.low[labels]), largest(m.onset.high[labels])
    if not math.isnan(low):
        evidence.append(f"Labels lay in [{low:.3g}, {high:.3g}].")
    low, high = smallest(m.onset.low[predictions]), largest(m.onset.high[predictions])
    if not math.isnan(low):
        evidence.append(f"Predictions lay in [{low:.3g}, {high:.3g}].")
    loss = [
        Candidate(
            "loss_domain",
            1.0,
            0.97,
            evidence,
            fixes.of(
                m,
                "The loss left its domain: keep the arguments of its logarithms and roots "
                "above 0, and its denominators away from 0.",
            ),
        )
    ]
    return [*_classes(m), *loss]


def _classes(m: Measured) -> list[Candidate]:
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
                        _upstream_text(m),
                        f"Labels of the batch are integers from {low:.0f} to {high:.0f}, each "
                        f"beside {classes} outputs: classes are 0 to "
                        f"{classes - 1}.",
                        _counts_text(m),
                    ],
                    f"Bring the labels into 0 to {classes - 1}, or give the last layer "
                    "one unit for each class"
                    + (f" ({high + 1:.0f} or more)." if high >= classes else "."),
                )
            ]
    return []


def _domain_of_metric(m: Measured) -> list[Candidate]:
    """Returns the cause of a metric of ordinary numbers.

    Signs:
        metric_domain: the first bad tensor is a metric, of finite numbers of ordinary
            size; loss, gradients and weights stayed finite. It is told of a contained run
            too, where a metric that no one goes by was not finite.
    """
    assert m.onset is not None
    evidence = [_upstream_text(m), _counts_text(m)]
    zeros = largest(m.onset.zeros[m.of("label")])
    if zeros > 0:
        evidence.append(f"{zeros:.1%} of this batch's labels were exactly zero.")
    return [
        Candidate(
            "metric_domain",
            1.0,
            0.97,
            [*evidence, "Loss and weights stayed finite: the training itself is sound."],
            fixes.of(
                m,
                "Guard the metric's division, logarithm or root, or choose another "
                "objective.",
            ),
        )
    ]


def _domain_of_gradient(m: Measured) -> list[Candidate]:
    """Returns the causes of a gradient of ordinary numbers.

    Signs:
        loss_domain: the loss was finite, and the gradient nearest to it was not: the
            derivative left its domain, as that of a root does at zero. Where running the
            step again has shown whose derivative it is, that decides: of an operation of
            the loss or the step, and not of the model.
        layer_domain: gradients nearer to the loss were finite, and one further on was
            not: the derivative of a layer between the two left its domain. Or running the
            step again has shown that the derivative is that of an operation in a call of
            the model or of a layer, wherever its gradient arrived first.
        gradient_amplification: gradients nearer to the loss were finite, and the first
            that was not is that of a recurrent layer.
    """
    assert m.origin is not None and m.onset is not None
    gradients = [i for i in m.of("gradient") if i < m.origin]
    passed = [i for i in gradients if m.onset.bad[i] == 0]
    evidence = [
        _upstream_text(m),
        "The loss itself was finite: only its derivative was not.",
    ]
    loss = Candidate(
        "loss_domain",
        3.0,
        0.93,
        evidence,
        fixes.of(
            m,
            "The loss's derivative is not finite where its argument is zero (a root, norm "
            "or power): keep that above zero, e.g. "
            "keras.ops.sqrt(keras.ops.maximum(x, 1e-12)).",
        ),
    )
    layer = _layer_candidate(m, 3.0, 0.95)
    layer.evidence = evidence
    layer.fix = fixes.of(
        m,
        "The derivative of a layer's function is not finite at some of its inputs (a "
        "root, norm or power at zero): keep what is inside above zero, e.g. "
        "keras.ops.sqrt(keras.ops.maximum(x, 1e-12)).",
    )
    inside = _in_model(m)
    if not inside and (inside is False or not passed):
        if inside is False:
            evidence.append("It is that of an operation in the loss, not in the model.")
        layer.weight = 0.6
        return [loss, layer]
    if passed:
        evidence.append(
            f"{len(passed)} gradients nearer to the loss were finite, so it began between "
            "two layers."
        )
    if inside:
        evidence.append("It is that of an operation in the model, not in the loss.")
    if passed and m.is_recurrent(m.origin):
        through_time = amplification(
            1e3,
            "It belongs to a recurrent layer, whose gradient is multiplied by the same "
            "matrix at every step of the sequence.",
        )
        through_time.evidence = [*evidence, *through_time.evidence]
        layer.weight = 1.0
        return [through_time, layer]
    return [layer] if inside else [layer, replace(loss, weight=0.3)]


def _in_model(m: Measured) -> bool | None:
    """Returns whether the derivative is that of an operation in a call of the model.

    None where that was not seen, or is not to be parted: a loss that a layer calls.
    """
    found = m.facts.postmortem
    if found is None or not found.gradient or (found.in_model and found.owner):
        return None
    return found.in_model


def _domain_of_update(m: Measured) -> list[Candidate]:
    """Returns the cause of an update that was not finite although its gradients were.

    Signs:
        optimizer_settings: the first bad tensor is a weight or one of the optimizer's
            variables; all gradients of that step were finite and of ordinary size.
    """
    gradients = m.of("gradient")
    assert m.onset is not None
    evidence = [
        f"All gradients of that step were finite, at most "
        f"{largest(m.onset.top[gradients]):.3g}; the update made of them was not."
    ]
    evidence += [text for _, text in odd_settings(m)]
    zeros = largest(m.onset.zeros[gradients])
    if zeros > 0:
        evidence.append(f"Up to {zeros:.0%} of a gradient's elements were exactly zero.")
    return [
        Candidate(
            "optimizer_settings",
            1.0,
            0.97 if odd_settings(m) else 0.85,
            evidence,
            settings_fix(m),
        )
    ]
