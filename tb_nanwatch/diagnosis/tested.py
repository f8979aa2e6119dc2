# SPDX-License-Identifier: Apache-2.0
"""Whether experiments confirm or refute a cause; pure."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import Experiment, PostMortem
from tb_nanwatch.wording.counts import counted

# What would keep a training finite if the cause were right; "learning_rate/" and
# "schedule/" begin several changes.
_CHANGES: Final[dict[str, tuple[str, ...]]] = {
    "learning_rate": ("learning_rate/", "schedule/"),
    "unscaled_inputs": ("inputs",),
    "unscaled_targets": ("labels",),
    "unscaled_data": ("inputs_and_labels",),
    "gradient_amplification": ("clip", "clip_values"),
    "half_precision": ("float32",),
    "optimizer_settings": ("optimizer",),
    "outlier_data": ("rows",),
    "label_range": ("labels",),
    "loss_domain": ("epsilon", "rows"),
    "metric_domain": ("epsilon", "rows"),
    "layer_domain": ("begun_with_1", "epsilon", "rows"),
    "nonfinite_data": ("rows",),
}
# These act over many steps: at the failing one the weights may be past help, and a
# change that comes too late refutes nothing. From the first step on it does.
_GRADUAL: Final = (
    "learning_rate",
    "unscaled_inputs",
    "unscaled_targets",
    "unscaled_data",
    "gradient_amplification",
    "optimizer_settings",
)


def confirmation(facts: Facts, cause: str) -> Experiment | None:
    """Returns the experiment that confirms a cause: its change kept the run finite.

    Of several the one that is nearest to the fix (a guard in the operation, before rows
    that are left out), and of these the one that changed least: the highest learning rate.
    """
    kept = [e for e in _tried(facts, cause) if _helped(cause, e)]
    order = _CHANGES.get(cause, ())

    def nearness(e: Experiment) -> int:
        return -order.index(e.change) if e.change in order else 0

    return max(kept, key=lambda e: (nearness(e), e.value or 0.0), default=None)


def _helped(cause: str, e: Experiment) -> bool:
    """Returns whether a change helped the training as it should if the cause is right.

    Float32 damps nothing: a training that stays finite in it counts as mended even where it
    learns no better than before, unless its loss grows where float16 had failed.
    """
    if e.succeeded or cause != "half_precision":
        return e.succeeded
    if not (e.tried and e.finite) or e.first_loss is None or e.last_loss is None:
        return False
    return abs(e.last_loss) < at("domain_growth") * abs(e.first_loss)


def refutation(facts: Facts, cause: str) -> Experiment | None:
    """Returns the experiment that refutes a cause: its change left the run non-finite.

    None where one of the cause's changes helped, none was tried, or none could.
    """
    tried = _tried(facts, cause)
    # Scaled into [-1, 1], labels may be out of range as before.
    if cause == "label_range" or not tried or any(e.finite for e in tried):
        return None
    if cause.endswith("_domain"):
        # Another row of the batch may be as bad.
        tried = [e for e in tried if e.change != "rows"]
        if _left_domain(facts.postmortem):
            # Another operation may be at fault as well, but this one was measured.
            tried = [e for e in tried if e.change not in ("epsilon", "begun_with_1")]
    if not tried:
        return None
    if cause == "learning_rate" and not any(
        (e.value or 1.0) <= at("low_rate") for e in tried
    ):
        return None
    if cause in _GRADUAL:
        if any(e.first > 0 for e in tried):
            return None
    elif any(_passed_onset(facts, e) for e in tried):
        # The step itself was mended; what went bad later may be something else.
        return None
    return tried[-1]


def needs_both(facts: Facts) -> Experiment | None:
    """Returns the experiment with inputs and labels scaled, where each alone failed."""
    both = confirmation(facts, "unscaled_data")
    alone = [_tried(facts, cause) for cause in ("unscaled_inputs", "unscaled_targets")]
    if both is None or not all(alone):
        return None
    return None if any(e.succeeded for tried in alone for e in tried) else both


def confirmed_text(facts: Facts, cause: str, kept: Experiment) -> str:
    """Returns a confirmation as a sentence."""
    if kept.first == _onset(facts):
        after = f" and the {kept.steps - 1:,} after it" if kept.steps > 1 else ""
        return f"Tested: run again with {kept.text}, the step{after} stayed finite."
    text = (
        f"Tested: run again from step {kept.first:,} on with {changed_text(kept)}, "
        + (f"all {kept.steps:,} steps are finite" if kept.steps != 1 else "it is finite")
    )
    if kept.learns and kept.first_loss is not None and kept.last_loss is not None:
        text += f" and the loss falls from {kept.first_loss:.3g} to {kept.last_loss:.3g}"
    higher = failed_above(facts, cause, kept)
    text += f"; with {higher:.3g} they are not." if higher is not None else "."
    return f"{text} {covered_text(facts, kept)}"


def failed_above(facts: Facts, cause: str, kept: Experiment) -> float | None:
    """Returns the lowest value above that of a confirmation with which the run went bad again."""
    if kept.value is None:
        return None
    failed = [
        e.value for e in _tried(facts, cause) if not e.finite and e.value is not None
    ]
    return min((value for value in failed if value > kept.value), default=None)


def covered_text(facts: Facts, kept: Experiment) -> str:
    """Returns in a sentence which part of the training an experiment went through."""
    found = facts.postmortem or PostMortem()
    end, planned = kept.first + kept.steps, found.planned_steps
    if planned and end >= planned:
        if kept.first:
            return "That is from there to the end of the training."
        if end > planned:
            return f"The whole training has {planned:,}."
        return "That is the whole training."
    beyond = max(0, end - 1 - _onset(facts))
    epoch = found.epoch_steps
    those = "That is" if kept.steps == 1 else "Those are"
    those += f" {kept.steps:,} of the training's {counted(planned, 'step')}, "
    what = "of them after the failing one"
    text = f"{those}{beyond:,} {what}" if planned else f"{beyond:,} {what}"
    if epoch > kept.steps:
        text += f"; an epoch has {epoch:,}"
    if 0 < kept.batches < min(kept.steps, epoch or kept.steps):
        text += f"; on {kept.batches:,} batch{'es' * (kept.batches > 1)} again and again"
    return f"{text}."


def is_short(facts: Facts, kept: Experiment) -> bool:
    """Returns whether an experiment was too short to tell how the whole training would end.

    It went through less than an epoch, or through less than what then remained; or it is not
    known how long the training was to be.
    """
    found = facts.postmortem
    if found is None or not kept.batches:
        return False  # an older log
    left = found.planned_steps - kept.first - kept.steps
    if not found.planned_steps:
        return True
    return left > 0 and (
        kept.steps < found.epoch_steps or left > at("steps_to_go") * kept.steps
    )


def rate_that_holds(facts: Facts, kept: Experiment) -> float:
    """Returns the divisor to apply to a tested learning rate before it is recommended.

    Args:
        facts: of the run.
        kept: the experiment with a lower rate that confirmed the cause.

    Returns:
        The margin where the experiment was short, else 1; and 1 where the training was
        seen not to learn with the lower one.
    """
    margin = at("rate_margin")
    if not is_short(facts, kept) or kept.value is None:
        return 1.0
    lower = [
        e
        for e in _tried(facts, "learning_rate")
        if e.value is not None
        and math.isclose(e.value * margin, kept.value, rel_tol=at("same_rate"))
    ]
    return 1.0 if any(not e.succeeded for e in lower) else margin


def unhelpful_text(facts: Facts, cause: str) -> str:
    """Returns a sentence about the experiments that did not help enough; "" where there are none.

    It stayed finite and yet did not learn; or one operation of several was mended.
    """
    if confirmation(facts, cause) is not None:
        return ""
    tried = _tried(facts, cause)
    idle = [e for e in tried if e.finite and e.learns is False]
    if idle:
        return (
            f"Run again with {changed_text(idle[0])}, it stays finite but does not learn."
        )
    alone = _too_little(facts, cause)
    if not alone or not _left_domain(facts.postmortem):
        return ""
    said = [f"with {e.text}, it went bad all the same ({e.note})" for e in alone]
    return f"Run again {'; '.join(said)}: another operation leaves its domain as well."


def mends_not(facts: Facts, cause: str) -> bool:
    """Returns whether experiments have shown that the fix of a cause does not suffice alone.

    They tried the fix itself (a guard on the operation in the failing step, or another
    initial value of the variable), and the step went bad all the same.
    """
    return confirmation(facts, cause) is None and bool(_too_little(facts, cause))


def _too_little(facts: Facts, cause: str) -> list[Experiment]:
    """Returns the experiments that fixed one operation while the step still went bad."""
    return [
        e
        for e in _tried(facts, cause)
        if e.change in ("epsilon", "begun_with_1")
        and not e.finite
        and (e.change == "begun_with_1" or not _passed_onset(facts, e))
    ]


def changed_text(kept: Experiment) -> str:
    """Returns the setting that an experiment ran with: "a learning rate of 0.3 instead of 3"."""
    if not kept.change.startswith("learning_rate/") or kept.value is None:
        return kept.text
    before = kept.value * float(kept.change.split("/")[1])
    return f"a learning rate of {kept.value:.3g} instead of {before:.3g}"


def _onset(facts: Facts) -> int:
    return facts.onset.step if facts.onset is not None else 0


def _left_domain(found: PostMortem | None) -> bool:
    """Returns whether the first bad operation made NaN, or divided by zero, of finite numbers.

    A gradient's operation divides by what the forward one made: there NaN alone tells.
    """
    if found is None or not found.inputs:
        return False
    if any(o.num_nan or o.num_pos_inf or o.num_neg_inf for o in found.inputs):
        return False
    zero = any(o.num_zero for o in found.inputs if o.name in ("denominator", "argument"))
    return found.num_nan > 0 or (zero and not found.gradient)


def _passed_onset(facts: Facts, experiment: Experiment) -> bool:
    return experiment.first + experiment.steps - 1 > _onset(facts)


def _tried(facts: Facts, cause: str) -> list[Experiment]:
    found = facts.postmortem
    if found is None:
        return []
    changes = _CHANGES.get(cause, ())
    if cause.endswith("_domain") and found.finite_in_float32:
        # Without the rows that went bad the step is finite whatever is to blame.
        changes = tuple(change for change in changes if change != "rows")
    until = _onset(facts)
    if cause == "outlier_data":  # what begins after its batch cannot leave it out
        until -= min((o.ago for o in found.outliers), default=0)
    tried = [*found.experiments, *_one_step(facts, cause)]
    return [
        e
        for e in tried
        if e.tried
        and e.first <= until
        and any(
            e.change == c or (c[-1] == "/" and e.change.startswith(c)) for c in changes
        )
    ]


def _one_step(facts: Facts, cause: str) -> list[Experiment]:
    """Returns the failing step in float32 as an experiment, where no training was run in float32."""
    found = facts.postmortem
    if cause != "half_precision" or found is None or not found.finite_in_float32:
        return []
    if any(e.change == "float32" and e.tried for e in found.experiments):
        return []
    text = "float32 instead of float16"
    return [Experiment("float32", text, finite=True, steps=1, first=_onset(facts))]
