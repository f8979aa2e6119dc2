"""The rules that name a run's cause, and every threshold they use; pure.

First it is asked how the run went bad. Either one tensor *left its domain*: what it
was computed from was finite and of ordinary size (a division by zero, the logarithm
of a negative number, data that came in bad). Or the numbers *grew* until they no
longer fitted; then each possible driver of the growth (step size, scale of inputs
and targets, gain of the initial weights, depth or time, settings of the optimizer)
is measured at the run's first step, in decades above what is usual, and the share of
each in the sum is how sure one can be of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tb_nanwatch.measured import Measured, largest
from tb_nanwatch.schema import BAD_STATUSES


@dataclass(frozen=True)
class Threshold:
    """A number that decides, and where it comes from."""

    value: float
    source: str


THRESHOLDS: Final[dict[str, Threshold]] = {
    "domain_top": Threshold(
        1e4,
        "own corpus: tensors of a training that has not run away stay below; what is "
        "made of such gradients and activations is far from float32's 3.4e38",
    ),
    "domain_growth": Threshold(
        1e3,
        "own corpus: clean runs grow less than 1e2 over their first step, and one decade "
        "is left for the loss, which is squared",
    ),
    "matrix_top": Threshold(1e3, "a tenth of domain_top: both factors count"),
    "domain_top_large": Threshold(
        1e12, "products of two such numbers still fit in float32 (3.4e38)"
    ),
    "input_rms": Threshold(
        10.0, "UMLAUT warns beyond [-1, 1]; AutoTrainer takes mean |activation| >= 10"
    ),
    "input_entered": Threshold(
        0.02, "a layer initialised by Glorot's rule passes 0.05 to 1 of the scale on"
    ),
    "target_ratio": Threshold(
        10.0, "as for inputs, over the spread of the first predictions"
    ),
    "layer_gain": Threshold(
        4.0,
        "TheDeepChecker: activations' deviation within 0.5 to 2 at step 0, twice as much "
        "again for layers without normalisation",
    ),
    "depth_growth": Threshold(1e2, "DeepDiagnosis: gradients growing through layers"),
    "leap": Threshold(
        1e4, "own corpus: functions without weights give a few times what enters them"
    ),
    "half_top": Threshold(
        100.0, "squares and sums of so large values reach float16's 65504"
    ),
    "half_share": Threshold(0.05, "Hugging Face DebugUnderflowOverflow: 6e4 of 65504"),
    "tiny_epsilon": Threshold(1e-12, "Keras' default is 1e-7; float32 resolves 1.2e-7"),
    "momentum": Threshold(0.999, "a sum over 1,000 steps and more"),
    "decay_step": Threshold(1.0, "|1 - decay * rate| > 1 from 2 on; 1 forgets at once"),
    "label_loss": Threshold(
        -1.0, "losses of labels within their range are bounded below near zero"
    ),
    "update_ratio": Threshold(0.1, "TheDeepChecker: 1e-4 to 1e-1"),
    "inherited_share": Threshold(
        0.9, "a convention: the rest is for what the training's own settings add"
    ),
    "noticeable": Threshold(0.5, "half a decade: less is within the usual spread"),
}

# Learning rates that Keras takes by default, by the optimizer's class.
USUAL_RATES: Final[dict[str, float]] = {
    "SGD": 1e-2,
    "Adam": 1e-3,
    "AdamW": 1e-3,
    "Nadam": 1e-3,
    "Adamax": 1e-3,
    "RMSprop": 1e-3,
    "Adagrad": 1e-3,
    "Adadelta": 1e-3,
    "Ftrl": 1e-3,
    "Lion": 1e-4,
    "Adafactor": 1e-3,
    "Lamb": 1e-3,
    "Muon": 1e-3,
}
# Their steps depend on the rate alone, not on the size of the gradient.
_NORMALISED: Final = tuple(name for name in USUAL_RATES if name != "SGD")


@dataclass
class Candidate:
    """A cause that a rule proposes.

    Attributes:
        id: one of `schema.CAUSES`.
        weight: how strongly; between candidates only their ratio counts.
        sure: the confidence if it stood alone.
        evidence: sentences with numbers of this run.
        fix: what to change.
        about: value of the optimizer's setting that is to blame.
    """

    id: str
    weight: float
    sure: float = 0.9
    evidence: list[str] = field(default_factory=list)
    fix: str = ""
    about: float | None = None


def at(name: str) -> float:
    """Returns a threshold's value."""
    return THRESHOLDS[name].value


def candidates(m: Measured) -> list[Candidate]:
    """Returns the causes that the record speaks for, in no order."""
    if m.origin is not None:
        kind = m.probes[m.origin].kind
        if kind in ("input", "label", "sample_weight"):
            return [_bad_data(m, kind)]
    if m.first is None or m.onset is None:
        return []
    if m.origin is not None and _left_domain(m):
        return _domain(m)
    if m.trained is not None and m.growth() >= at("domain_growth"):
        # What a validation pass shows first is the training's divergence all the same:
        # its drivers are measured at the training's own first step.
        return _growth(m.trained, m.growth())
    return _growth(m, m.growth())


# --- Data ---------------------------------------------------------------------------


def _bad_data(m: Measured, kind: str) -> Candidate:
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


# --- Left its domain ----------------------------------------------------------------


def _left_domain(m: Measured) -> bool:
    """Returns whether the origin was computed from finite numbers of ordinary size."""
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


def _domain(m: Measured) -> list[Candidate]:
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
    found = rules[kind](m)
    return [*_half(m), *found]


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
            'Compute this layer in float32 (dtype="float32") or in bfloat16 '
            '(keras.mixed_precision.set_global_policy("mixed_bfloat16")), or scale down '
            "what enters it.",
        )
    ]


def _domain_of_layer(m: Measured) -> list[Candidate]:
    assert m.origin is not None and m.bad_tensor is not None
    tensor = m.bad_tensor
    own = m.matrices_of(m.origin)
    bad = tensor.num_nan + tensor.num_pos_inf + tensor.num_neg_inf
    units = m.probes[m.origin].shape[-1] if m.probes[m.origin].shape else None
    # A weight is shared by all rows: it spoils whole columns of the output.
    columns = bool(units) and bad % max(1, tensor.size // (units or 1)) == 0
    known = bool(m.weights_of(m.origin)) and bool(_whose_weights(m))
    if m.at_first_step and (known or (own and columns)):
        # Sums of products of finite numbers are not NaN: a factor was not finite.
        evidence = [
            _whose_weights(m),
            _upstream_text(m),
            f"{bad:,} of {tensor.size:,} values were non-finite in the first step of this "
            "training"
            + (", whole columns of them" if columns else "")
            + ": a layer that multiplies finite inputs by its weights gives that only "
            "where the weights already held it.",
        ]
        return [
            Candidate(
                "inherited",
                20.0 if known else 8.0 if bad == tensor.size else 5.0,
                0.97,
                evidence,
                _INHERITED_FIX
                if known
                else "Do not go on from these weights: build the model anew, or load a "
                "checkpoint from before they went bad.",
            ),
            _layer_candidate(m, 1.0),
        ]
    if own and not m.at_first_step:
        return [_layer_candidate(m, 1.0, 0.5)]
    return [_layer_candidate(m, 1.0)]


def _layer_candidate(m: Measured, weight: float, sure: float = 0.97) -> Candidate:
    return Candidate(
        "layer_domain",
        weight,
        sure,
        [_upstream_text(m), _counts_text(m)],
        "This layer's function left its domain (logarithm, root or division): keep its "
        "argument away from there, e.g. keras.ops.log(keras.ops.maximum(x, 1e-6)).",
    )


def _domain_of_loss(m: Measured) -> list[Candidate]:
    assert m.onset is not None
    evidence = [_upstream_text(m), _counts_text(m)]
    labels, predictions = m.of("label"), m.of("prediction")
    zeros = largest(m.onset.zeros[labels])
    if zeros > 0:
        evidence.append(f"{zeros:.1%} of this batch's labels were exactly zero.")
    low, high = _smallest(m.onset.low[labels]), largest(m.onset.high[labels])
    if not math.isnan(low):
        evidence.append(f"Labels lay in [{low:.3g}, {high:.3g}].")
    low, high = _smallest(m.onset.low[predictions]), largest(m.onset.high[predictions])
    if not math.isnan(low):
        evidence.append(f"Predictions lay in [{low:.3g}, {high:.3g}].")
    return [
        Candidate(
            "loss_domain",
            1.0,
            0.97,
            evidence,
            "The loss left its domain: guard its division, logarithm or root, e.g. "
            "keras.ops.abs(y - p) / keras.ops.maximum(keras.ops.abs(y), 1e-3).",
        )
    ]


def _domain_of_metric(m: Measured) -> list[Candidate]:
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
            "Guard the metric's division, logarithm or root, or choose another objective.",
        )
    ]


def _domain_of_gradient(m: Measured) -> list[Candidate]:
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
        "The loss's derivative is not finite where its argument is zero (a root, norm or "
        "power): add a small number inside, e.g. keras.ops.sqrt(x + 1e-12).",
    )
    layer = _layer_candidate(m, 3.0, 0.95)
    layer.evidence = evidence
    layer.fix = (
        "The derivative of a layer's function is not finite at some of its inputs (a "
        "root, norm or power at zero): add a small number inside it."
    )
    if not passed:
        layer.weight = 0.6
        return [loss, layer]
    evidence.append(
        f"{len(passed)} gradients nearer to the loss were finite, so it began between "
        "two layers."
    )
    if m.is_recurrent(m.origin):
        through_time = _amplification(
            1e3,
            "It belongs to a recurrent layer, whose gradient is multiplied by the same "
            "matrix at every step of the sequence.",
        )
        through_time.evidence = [*evidence, *through_time.evidence]
        layer.weight = 1.0
        return [through_time, layer]
    loss.weight = 0.3
    return [layer, loss]


def _domain_of_update(m: Measured) -> list[Candidate]:
    gradients = m.of("gradient")
    assert m.onset is not None
    evidence = [
        f"All gradients of that step were finite, at most "
        f"{largest(m.onset.top[gradients]):.3g}; the update made of them was not."
    ]
    evidence += [text for _, text in _odd_settings(m)]
    zeros = largest(m.onset.zeros[gradients])
    if zeros > 0:
        evidence.append(f"Up to {zeros:.0%} of a gradient's elements were exactly zero.")
    return [
        Candidate(
            "optimizer_settings",
            1.0,
            0.97 if _odd_settings(m) else 0.85,
            evidence,
            _settings_fix(m),
        )
    ]


# --- Grew ---------------------------------------------------------------------------


def _growth(m: Measured, growth: float) -> list[Candidate]:
    """Returns the drivers of a growth, each weighed by the decades it adds."""
    found = [
        rule(m)
        for rule in (
            _settings_driver,
            _inputs_driver,
            _targets_driver,
            _gain_driver,
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
    came = _inherited_weights(m)
    if came is None:
        return drivers
    # A training that began blown up was driven there by no setting of its own: these
    # can only have carried on what the earlier one died of.
    total = sum(c.weight for c in drivers) or 1.0
    came.weight = total * at("inherited_share") / (1 - at("inherited_share"))
    return [came, *drivers]


def _inherited_weights(m: Measured) -> Candidate | None:
    """Weights that came out of all proportion from a training that had gone bad."""
    if m.first is None or m.facts.inherited not in BAD_STATUSES:
        return None
    outputs = m.of("activation", "prediction")
    size = largest([largest(m.first.rms[outputs]), largest(m.first.top[outputs]) / 10])
    # A model that has learned gives outputs as large as its labels.
    data = [i for i in m.of("input", "label") if _is_float(m, i)]
    growth = size / max(1.0, largest(m.first.rms[data])) if data else size
    if not growth >= at("domain_growth"):
        return None
    return Candidate(
        "inherited",
        1.0,
        0.97,
        [
            _whose_weights(m),
            f"At the first step of this training, before any update, outputs were "
            f"{growth:.3g} times the size of the data already.",
        ],
        _INHERITED_FIX,
    )


def _whose_weights(m: Measured) -> str:
    bad = m.facts.inherited
    if bad not in BAD_STATUSES:
        return ""
    return (
        "Its weights came from a training that had gone bad "
        f"({str(bad).replace('_', ' ')})."
    )


_INHERITED_FIX: Final = (
    "Mend what the earlier training died of; from its weights none can go on. In a "
    'search, on_nonfinite="stop" keeps a trial that went bad from being scored, and so '
    "from being gone on with."
)


def _is_float(m: Measured, index: int) -> bool:
    return m.probes[index].dtype.startswith(("float", "bfloat"))


def _how_it_grew(m: Measured, growth: float) -> str:
    onset = m.facts.onset
    steps = onset.step if onset is not None else 0
    if math.isnan(growth):
        return "How it grew was not recorded."
    return (
        f"Loss, activations or weights had grown {growth:.3g}-fold over the first step "
        f"after {steps:,} steps."
    )


def _rate_driver(m: Measured) -> Candidate | None:
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
    lower = 10 ** math.floor(math.log10(min(rate, usual)) - 0.5)
    return Candidate(
        "learning_rate",
        weight,
        sure if seen else 0.5,
        evidence,
        f"Lower the learning rate, e.g. to {min(usual, lower * 10):.0e}, or clip the "
        "gradients (clipnorm=1.0).",
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
    if m.first is None or str(m.optimizer.get("class_name", "")) in _NORMALISED:
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
    assert m.first is not None
    floats = [i for i in m.of("input") if _is_float(m, i)]
    rms = largest(m.first.rms[floats])
    if not rms >= at("input_rms") or _entered(m, rms) < at("input_entered"):
        return None
    low, high = _smallest(m.first.low[floats]), largest(m.first.high[floats])
    return Candidate(
        "unscaled_inputs",
        # Activations and gradients both carry the scale.
        2 * math.log10(rms),
        0.97,
        [
            f"Inputs lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}; layers "
            "are made for values about 1."
        ],
        "Scale the inputs to mean 0 and deviation 1, e.g. with a "
        "keras.layers.Normalization() layer adapted to the training data.",
    )


def _entered(m: Measured, rms: float) -> float:
    """Returns how much of the inputs' scale the first layer with a matrix passes on.

    Hardly any where a layer before it normalises, or where inputs are indices.
    """
    assert m.first is not None
    for i in m.of("activation"):
        if m.matrices_of(i):
            size = m.first.rms[i]
            return float(size / rms) if math.isfinite(size) else 1.0
    return 1.0


def _targets_driver(m: Measured) -> Candidate | None:
    assert m.first is not None
    labels = [i for i in m.of("label") if _is_float(m, i)]
    rms = largest(m.first.rms[labels])
    if not rms >= at("target_ratio"):
        return None
    predicted = largest(m.first.rms[m.of("prediction")])
    # Predictions carry the scale of the inputs, whose own fault that is.
    inputs = largest(m.first.rms[m.of("input")])
    inputs = inputs if _entered(m, inputs) >= at("input_entered") else 1.0
    if inputs >= at("input_rms"):
        predicted /= inputs
    scale = rms / max(1.0, predicted) if not math.isnan(predicted) else rms
    if scale < at("target_ratio"):
        return None
    low, high = _smallest(m.first.low[labels]), largest(m.first.high[labels])
    return Candidate(
        "unscaled_targets",
        math.log10(scale) * 1.2,
        0.97,
        [
            f"Targets lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}, where "
            f"the first predictions of scaled inputs would have had {predicted:.3g}."
            if inputs >= at("input_rms")
            else f"Targets lie in [{low:.3g}, {high:.3g}], root mean square {rms:.3g}, "
            f"where the first predictions had {predicted:.3g}."
        ],
        "Scale the targets to mean 0 and deviation 1, and undo it on the predictions.",
    )


def _gain_driver(m: Measured) -> Candidate | None:
    """Growth from layer to layer before anything was learned: by weights, depth or time."""
    assert m.first is not None
    if m.phase == "validation" or m.facts.inherited is not None:
        return None  # these weights are no longer the initial ones
    rms = m.first.rms
    layers = m.of("activation")
    inputs = m.of("input")
    entering = max(1.0, largest(rms[inputs])) if inputs else 1.0
    gains = []
    before = largest(rms[inputs]) if inputs else math.nan
    if _entered(m, before) < at("input_entered"):
        entering, before = 1.0, math.nan  # indices, or scaled by a layer
    recurrent_gain = leap = 1.0
    for i in layers:
        if not rms[i] > 0:
            continue
        if not m.weights_of(i) and before > 0:
            leap = max(leap, rms[i] / before)
        if m.matrices_of(i) and before > 0:
            gain = rms[i] / before
            if m.is_recurrent(i):
                recurrent_gain = max(recurrent_gain, gain)
            gains.append(gain)
        before = rms[i]
    peak = largest(rms[layers])
    # Where the very first step already overflowed, what was finite of it counts.
    peak = largest(np.array([peak, largest(m.first.top[layers]) / 10]))
    forward = peak / entering if peak > 0 else 1.0
    backward = _backward_growth(m)
    by_time = recurrent_gain >= at("depth_growth")
    if forward < at("depth_growth") and backward < at("depth_growth"):
        return None
    median = float(np.median(gains)) if gains else 1.0
    growth = max(forward, math.sqrt(backward))
    if leap >= at("leap") and leap**2 >= forward:
        return Candidate(
            "layer_domain",
            2 * math.log10(growth),
            0.95,
            [
                f"At the first step, before any update, a layer without weights gave "
                f"{leap:.3g} times what entered it."
            ],
            "This layer's function grows out of bounds (an exponential or a power): "
            "bound its argument, e.g. keras.ops.exp(keras.ops.minimum(x, 20.0)).",
        )
    if by_time:
        return _amplification(
            growth,
            f"A recurrent layer's output was {recurrent_gain:.3g} times its input before "
            "anything was learned: its loop multiplies at every step of the sequence.",
        )
    if forward >= at("depth_growth") and median >= at("layer_gain"):
        return Candidate(
            "initialization",
            2 * math.log10(growth),
            0.97,
            [
                f"At the first step, before any update, activations grew {forward:.3g}-fold "
                f"from the input on, {median:.3g}-fold in a layer (0.5 to 2 is usual)."
            ],
            'Use an initializer that keeps the scale: "he_normal" with relu, '
            '"glorot_uniform" with tanh.',
        )
    if forward >= at("depth_growth"):
        return _amplification(
            growth,
            f"At the first step, before any update, activations grew {forward:.3g}-fold "
            f"through {len(gains)} layers, only {median:.3g}-fold in each.",
        )
    return _amplification(
        math.sqrt(backward),
        f"At the first step gradients grew {backward:.3g}-fold from the last layer to the "
        "first, while activations did not.",
    )


def _backward_growth(m: Measured) -> float:
    assert m.first is not None
    matrices = [i for i in m.of("gradient") if len(m.probes[i].shape) >= 2]
    sizes = [float(m.first.rms[i]) for i in matrices if m.first.rms[i] > 0]
    return max(sizes) / sizes[0] if sizes else 1.0


def _amplification(growth: float, sentence: str) -> Candidate:
    return Candidate(
        "gradient_amplification",
        2 * math.log10(max(growth, 10.0)),
        0.96,
        [sentence],
        "Normalise between layers (keras.layers.LayerNormalization()), clip the gradients "
        "(clipnorm=1.0), and for sequences use LSTM or GRU with an orthogonal recurrent "
        "initializer.",
    )


def _labels_driver(m: Measured) -> Candidate | None:
    """A loss that falls below zero without bound: no label allowed for that."""
    losses = m.of("loss")
    lowest = _smallest(m.lowest[losses])
    if not lowest < at("label_loss"):
        return None
    labels = m.of("label")
    low, high = _smallest(m.lowest[labels]), largest(m.highest[labels])
    outside = low < 0 or high > 1
    if not outside:
        return None
    return Candidate(
        "label_range",
        12.0,
        0.97,
        [
            f"The loss fell to {lowest:.3g}, below zero and without bound; labels lie in "
            f"[{low:.3g}, {high:.3g}], outside of [0, 1]."
        ],
        "Bring the labels into the range that the loss is made for (0 and 1 for a binary "
        "cross-entropy), or take a loss made for these labels.",
    )


def _odd_settings(m: Measured) -> list[tuple[float, str]]:
    """Returns settings of the optimizer that no training survives, by decades."""
    found = []
    epsilon = m.setting("epsilon")
    if epsilon < at("tiny_epsilon"):
        found.append(
            (3.0, f"epsilon is {epsilon:.3g}: a gradient of zero is divided by zero.")
        )
    momentum = m.setting("momentum")
    if momentum >= at("momentum"):
        found.append((6.0, f"momentum is {momentum:.6g}: no step is ever forgotten."))
    for name in ("beta_1", "beta_2", "rho"):
        value = m.setting(name)
        if value >= 1.0:
            found.append((6.0, f"{name} is {value:.6g}; it must be below 1."))
    decay, rate = m.setting("weight_decay"), m.rate()
    if decay * rate >= at("decay_step"):
        found.append(
            (
                8.0,
                f"weight_decay times the learning rate is {decay * rate:.3g}: each step "
                "overshoots zero.",
            )
        )
    return found


def _settings_fix(m: Measured) -> str:
    if m.setting("epsilon") < at("tiny_epsilon"):
        return "Set epsilon to 1e-7 or more."
    return "Go back to the optimizer's default settings, and change one at a time."


def _settings_driver(m: Measured) -> Candidate | None:
    odd = _odd_settings(m)
    if not odd:
        return None
    return Candidate(
        "optimizer_settings",
        max(decades for decades, _ in odd),
        0.97,
        [text for _, text in odd],
        _settings_fix(m),
    )


def _smallest(values: object) -> float:
    return -largest(-np.asarray(values, np.float64))
