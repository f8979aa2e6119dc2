# SPDX-License-Identifier: Apache-2.0
"""Every threshold that a rule uses, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


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
    "outlier": Threshold(
        1e3,
        "of 32 values after 160 others none was more than 74 times the largest of these, in "
        "100,000 columns each of a log-normal of deviation 1.5 and of Student's t of 3",
    ),
    "outlier_rows": Threshold(
        0.25, "a convention: where more rows are far out, the batch is of another scale"
    ),
    "outlier_others": Threshold(
        3,
        "that three normal values are all 1,000 times smaller than a fourth happens in "
        "one of 1e9 columns",
    ),
    "outlier_share": Threshold(
        0.95, "a convention: the rest is for what met these values without a guard"
    ),
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
    "drowned": Threshold(
        0.9, "u / sqrt(w * w + u * u) of an update u that is twice the weights w"
    ),
    "low_rate": Threshold(
        1e-5,
        "a tenth of the lowest rate that Keras takes by default (Lion's): only a training "
        "of data out of all scale is too fast with it",
    ),
    "rate_margin": Threshold(
        2.0,
        "gradient descent on a quadratic of curvature c ends below a rate of 2 / c and goes "
        "down without overshooting from 1 / c on (Nesterov 2004, section 1.2.3): with half "
        "of a rate that held, the curvature may still grow to twice of what it was",
    ),
    "same_rate": Threshold(
        0.02, "divisors of a rate are rounded to a tenth, which is 1 in 60 at most"
    ),
    "steps_to_go": Threshold(
        1.0,
        "what lasted for n steps lasts for as many again in one of two cases where nothing "
        "else is known (rule of succession: n / (n + m) for m more)",
    ),
    "same_number": Threshold(
        1e-3,
        "a convention: one number, measured twice, of which one went through float32 or a "
        "subtraction",
    ),
    "bounded": Threshold(
        1.01, "a recurrent layer of tanh gives at most 1; the rest is for rounding"
    ),
    "least_denominator": Threshold(
        1e-7,
        "the derivative of a quotient is its denominator's square inverted: 1e14 keeps "
        "gradients of ordinary size below float32's 3.4e38 also when they are squared",
    ),
    "learnt": Threshold(
        0.75,
        "a convention: a loss that fell by less, and is not near that of the best constant "
        "prediction, may be the noise of its batches",
    ),
    "learnt_alone": Threshold(
        0.95, "as learnt, where no constant prediction is there to be compared with"
    ),
    "near_constant": Threshold(
        1.1, "a convention: a training cannot be asked to beat it within a few steps"
    ),
    "likely": Threshold(
        0.7, "a convention: from this confidence on an untested cause is called likely"
    ),
    "named": Threshold(
        0.4, "a convention: a cause whose confidence would be lower is unknown"
    ),
    "sharpness": Threshold(
        2.0,
        "own corpus, development seeds: the odds between two causes are those of their "
        "weights (decades of growth) raised to this; the heavier one was right far more "
        "often than in proportion",
    ),
    "rounded_share": Threshold(
        3.5e-4,
        "the root of float32's epsilon: a difference of nearly equal numbers is as far "
        "below 0, beside the largest one, by rounding alone",
    ),
    "worth_a_word": Threshold(
        0.1,
        "a convention: of searches in which chance alone decides which trials go bad, one in "
        "ten at most shows a condition on its first screen, as what may be chance",
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
# Momenta that Keras takes by default, where it takes one: the usual rates are for these.
USUAL_MOMENTA: Final[dict[str, float]] = {"Muon": 0.95}
# Their steps depend on the rate alone, not on the size of the gradient.
NORMALISED: Final = tuple(name for name in USUAL_RATES if name != "SGD")


def at(name: str) -> float:
    """Returns a threshold's value."""
    return THRESHOLDS[name].value
