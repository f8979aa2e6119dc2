# SPDX-License-Identifier: Apache-2.0
"""Fixes at the operation that the post-mortem names.

Where a line of the user's called the operation, the fix is for that line; inside a Keras
layer or loss, the fix is for the values that the user passes to it.
"""

from __future__ import annotations

import math

from tb_nanwatch.diagnosis.measured import Measured, largest, smallest
from tb_nanwatch.diagnosis.rules.guards import (
    DIVISIONS,
    HALF_SIZE,
    LOGARITHMS,
    SIZE,
    SIZES,
    Guard,
    guard_of,
    takes_infinities,
)
from tb_nanwatch.diagnosis.rules.line_fixes import at_line
from tb_nanwatch.record.schema import PostMortem


def of(m: Measured, otherwise: str) -> str:
    """Returns the fix at the first bad operation, `otherwise` where no operation is known."""
    found = m.facts.postmortem
    if found is None or found.op is None:
        return otherwise
    guard = guard_of(found)
    if found.source is not None:
        return at_line(m, found, guard)
    if found.layer:
        return _in_layer(found, guard)
    kind = m.bad_tensor.kind if m.bad_tensor is not None else ""
    if kind in ("loss", "gradient"):
        return _in_loss(m, found, guard)
    if kind == "metric":
        return (
            f"This metric of Keras' own {guard.does}: bring predictions and labels into "
            "the range that it is made for, or choose another objective."
        )
    return otherwise


def of_layer(m: Measured, otherwise: str) -> str:
    """Returns the fix where the first bad operation ran in a layer."""
    found = m.facts.postmortem
    return of(m, otherwise) if found is not None and found.layer else otherwise


def at_own_line(m: Measured) -> str:
    """Returns the fix if a line of the user's made the first bad value, else ""."""
    found = m.facts.postmortem
    own = found is not None and found.op is not None and found.source is not None
    return of(m, "") if own else ""


def _is_kept_in(found: PostMortem) -> bool:
    """Returns whether the first bad operation can be kept in its domain in its own dtype."""
    if found.op is None:
        return False
    return takes_infinities(found) or guard_of(found) not in SIZES


def out_of_float16(m: Measured) -> str:
    """Returns how to stop computing in float16: for one layer, or for the whole training.

    An operation that leaves its domain there is kept in it, where a line of the user's calls
    it: in float32 the layer alone would hand on what float16 cannot hold.
    """
    weights = {m.probes[i].dtype for i in m.of("weight")}
    if weights == {"float16"}:
        return (
            "All of this model is float16, its variables too: build it in float32 "
            '(keras.config.set_floatx("float32"), keras.config.set_dtype_policy("float32")) '
            'or with keras.config.set_dtype_policy("mixed_bfloat16").'
        )
    found = m.facts.postmortem
    if found is not None and _is_kept_in(found) and at_own_line(m):
        return (
            f"{at_own_line(m)} Or leave float16 altogether: build the model with "
            'keras.config.set_dtype_policy("float32") or "mixed_bfloat16".'
        )
    layer = (
        f"the layer {found.layer}" if found is not None and found.layer else "this part"
    )
    return (
        f'Compute {layer} in float32 (dtype="float32"), or the model in bfloat16 '
        '(keras.config.set_dtype_policy("mixed_bfloat16")).'
    )


def of_weights(name: str) -> str:
    """Returns the fix of a variable that was non-finite before the first step.

    Args:
        name: the variable's path.
    """
    return (
        f"Find what gives {name} its numbers before training: where your own code sets them "
        "(set_weights, assign, an initializer), keep them finite there, e.g. "
        "numpy.nan_to_num(values, posinf=0, neginf=0), for a model built anew gets the same; "
        "where a checkpoint does, load one from before they went bad."
    )


def _in_layer(found: PostMortem, guard: Guard) -> str:
    if guard is HALF_SIZE:
        return (
            f'Compute the layer {found.layer} in float32 (dtype="float32"), or scale down '
            "what enters it."
        )
    keep = "what enters it small" if guard is SIZE else guard.keep
    return (
        f"The layer {found.layer} {guard.does}: keep {keep} by what you give to the layer "
        "(scale or clip its input), or choose another activation."
    )


def _in_loss(m: Measured, found: PostMortem, guard: Guard) -> str:
    """Returns the fix for a Keras loss, which no line of the user's is part of."""
    if guard in LOGARITHMS and found.dtype == "float16":
        return (
            "Keras guards this logarithm with 1e-7, which is lost beside 1 in float16: "
            'compute the last layer and the loss in float32 (dtype="float32"), or call '
            "keras.config.set_epsilon(1e-3)."
        )
    if guard in LOGARITHMS:
        return (
            "This loss takes the logarithm of the predictions: give the last layer the "
            'activation that the loss is made for ("softmax" or "sigmoid" for a '
            'cross-entropy, "softplus" for a Poisson loss), or pass from_logits=True to a '
            "cross-entropy where the last layer has none; its labels must lie in [0, 1]."
        )
    if guard in DIVISIONS:
        return (
            "This loss divides by what it makes of predictions and labels, and that was 0: "
            "a categorical cross-entropy divides each row by its sum, so end the model in "
            '"softmax" or pass from_logits=True; a relative error needs labels away from 0.'
        )
    if guard is HALF_SIZE:
        return (
            "The loss is beyond float16: compute the last layer and the loss in float32 "
            '(dtype="float32").'
        )
    return f"{_too_large(m)} Scale the labels and the inputs, and look for extreme rows."


def _too_large(m: Measured) -> str:
    """Returns a sentence on how large the values were that reached the loss."""
    parts = []
    for kind, words in (("label", "labels"), ("prediction", "predictions")):
        if m.onset is None or not m.of(kind):
            continue
        low, high = smallest(m.onset.low[m.of(kind)]), largest(m.onset.high[m.of(kind)])
        if not math.isnan(low):
            parts.append(f"{words} of [{low:.3g}, {high:.3g}]")
    what = " and ".join(parts) or "labels or predictions"
    return f"This loss cannot hold {what}."
